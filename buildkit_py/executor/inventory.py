"""An inventory: the entries of a layer in a form that takes little room and is compared quickly with other entries.

A COPY of many files mostly makes a layer that differs in a few entries from
the one that it made last. The inventory kept beside that one says in which;
what is the same in both has the same kind, attributes, time and content.
"""

from __future__ import annotations

import marshal
from _operator import itemgetter
from _struct import error, pack  # type: ignore[attr-defined]

from buildkit_py.image.entry import DIR, FILE, HARDLINK, SYMLINK
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit_py.image.entry import Entry

_FORMAT = 2
_KINDS = {FILE: 1, DIR: 2, SYMLINK: 3, HARDLINK: 4}
_FILE, _DIRECTORY = _KINDS[FILE], _KINDS[DIR]
_NOTHING = bytes(32)
# Of mode, owner, size and time in nanoseconds: the field of an entry, and the letter that `struct` has for it.
_NUMBERS = ((2, "H"), (3, "I"), (4, "I"), (5, "q"), (6, "q"))
# Bytes that a row has in each column: kind, those numbers, BLAKE3 of a file's bytes.
_WIDTHS = (1, 2, 4, 4, 8, 8, 32)
# Rows that are compared at once before each is.
_BLOCK = 256


class Inventory(Record):
    """Paths in the entries' order; a column for each attribute; and by path what few entries have: link target, xattrs.

    Columns and not rows, for those are made, kept and compared without an object for each entry.
    """

    paths: tuple[str, ...]
    columns: tuple[bytes, ...]
    rare: dict[str, tuple[str, tuple[tuple[str, bytes], ...]]]

    def dump(self) -> list[bytes]:
        """The same as bytes, for this machine, in pieces: one behind the other they are as much again."""
        # No path has a NUL in it, and one text takes less room and time than 100,000.
        text = "\0".join(self.paths).encode("utf-8", "surrogateescape")
        head = marshal.dumps((_FORMAT, len(self.paths), len(text), self.rare), 4)
        return [len(head).to_bytes(4, "little"), head, text, *self.columns]

    @classmethod
    def load(cls, data: bytes) -> Inventory | None:
        """What was dumped; None for anything else."""
        at = 4 + int.from_bytes(data[:4], "little")
        try:
            version, count, length, rare = marshal.loads(data[4:at])
        except (ValueError, EOFError, TypeError):
            return None
        if version != _FORMAT or len(data) != at + length + sum(_WIDTHS) * count:
            return None
        text = data[at : at + length].decode("utf-8", "surrogateescape")
        at += length
        columns = []
        for width in _WIDTHS:
            columns.append(data[at : at + width * count])
            at += width * count
        return cls(tuple(text.split("\0")) if count else (), tuple(columns), rare)

    def changes_to(self, other: Inventory) -> Changes:
        """What a later inventory has otherwise than this one."""
        lost: list[int] = []
        new: list[int] = []
        if self.paths != other.paths:
            mine, theirs = set(self.paths), set(other.paths)
            lost = [place for place, path in enumerate(self.paths) if path not in theirs]
            new = [place for place, path in enumerate(other.paths) if path not in mine]
        changed: set[int] = set(new)
        turned = False
        kinds, other_kinds = self.columns[0], other.columns[0]
        for start, other_start, length in _runs(lost, new, len(self.paths)):
            for row in self._differing(other, start, other_start, length):
                changed.add(other_start + row)
                was, becomes = kinds[start + row], other_kinds[other_start + row]
                turned = turned or (was == _DIRECTORY) != (becomes == _DIRECTORY)
        if self.rare != other.rare:
            odd = {path for path in {*self.rare, *other.rare} if self.rare.get(path) != other.rare.get(path)}
            changed.update([place for place, path in enumerate(other.paths) if path in odd])
        return Changes(sorted(changed), [self.paths[place] for place in lost], turned)

    def _differing(self, other: Inventory, start: int, other_start: int, length: int) -> Iterator[int]:
        """Of so many rows from `start` here and from `other_start` there, those that differ; some more than once."""
        for width, mine, theirs in zip(_WIDTHS, self.columns, other.columns, strict=True):
            for block in range(0, length, _BLOCK):
                rows = min(_BLOCK, length - block)
                at, there = (start + block) * width, (other_start + block) * width
                # Most blocks are the same, and comparing those costs nothing.
                if mine[at : at + rows * width] == theirs[there : there + rows * width]:
                    continue
                for row in range(rows):
                    one, two = at + row * width, there + row * width
                    if mine[one : one + width] != theirs[two : two + width]:
                        yield block + row


class Changes(Record):
    """The places, in the later inventory, of entries that are new or different, and the paths that it has lost.

    `turned`: something became a directory, or was one.
    """

    places: list[int]
    lost: list[str]
    turned: bool


def _runs(lost: Sequence[int], new: Sequence[int], length: int) -> Iterator[tuple[int, int, int]]:
    """The runs of paths that two inventories share: where in the first, where in the second, how many.

    Both are in one order, so what is left without `lost` of the first and without `new` of the second is the same.
    """
    here = there = 0
    added = iter(new)
    next_new = next(added, None)
    for next_lost in (*lost, length):
        while here < next_lost or next_new == there:
            while next_new == there:
                there += 1
                next_new = next(added, None)
            count = next_lost - here
            if next_new is not None:
                count = min(count, next_new - there)
            if count == 0:
                break
            yield here, there, count
            here += count
            there += count
        here += 1


def inventory_of(entries: Sequence[Entry], digests: bytes | bytearray | None = None) -> Inventory | None:
    """The inventory of entries in their order; None where it could not say all there is to say about one.

    `digests`: those of the FILE entries, one behind the other in their order,
    where the entries themselves do not have them.
    """
    kinds = bytes([_KINDS.get(kind, 0) for kind in map(itemgetter(1), entries)])
    if 0 in kinds or any(map(itemgetter(10), entries)):
        return None  # a device, a whiteout or an opaque directory
    if digests is None:
        known = [entry[13] for entry in entries if entry[1] == FILE]
        if None in known:
            return None  # a file nobody has read
        digests = b"".join(known)
    if len(digests) != 32 * kinds.count(_FILE):
        return None
    try:
        numbers = [pack(f"{len(kinds)}{code}", *map(itemgetter(field), entries)) for field, code in _NUMBERS]
    except error:
        return None  # a time after 2262 or before 1677
    rare = {entry[0]: (entry[7], entry[9]) for entry in entries if entry[7] or entry[9]}
    return Inventory(tuple(map(itemgetter(0), entries)), (kinds, *numbers, _spread(digests, kinds)), rare)


def _spread(digests: bytes | bytearray, kinds: bytes) -> bytes:
    """The column of digests: those of the files, and nothing for what is no file."""
    column = bytearray()
    at = start = 0
    for place in [place for place, kind in enumerate(kinds) if kind != _FILE]:
        end = at + 32 * (place - start)
        column += digests[at:end]
        column += _NOTHING
        at, start = end, place + 1
    column += digests[at:]
    return bytes(column)
