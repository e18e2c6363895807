"""An inventory: the entries of a layer in a form that takes little room and is compared quickly with other entries.

A COPY of many files mostly makes a layer that differs in a few entries from
the one that it made last. The inventory kept beside that one says in which;
what is the same in both has the same kind, attributes, time and content.
"""

from __future__ import annotations

import marshal
from _operator import itemgetter
from _struct import Struct
from itertools import count

from buildkit_py.image.entry import DIR, FILE, HARDLINK, SYMLINK
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.image.entry import Entry

_FORMAT = 1
# kind, mode, owner, size, time in nanoseconds, BLAKE3 of a file's bytes
_ROW = Struct("<BHIIqq32s")
_KINDS = {FILE: 1, DIR: 2, SYMLINK: 3, HARDLINK: 4}
_DIRECTORY = _KINDS[DIR]
_NOTHING = bytes(32)
# Rows that are compared at once before each is.
_BLOCK = 256


class Inventory(Record):
    """Paths in the entries' order, a row for each, and by path what few entries have: link target and xattrs."""

    paths: tuple[str, ...]
    rows: bytes
    rare: dict[str, tuple[str, tuple[tuple[str, bytes], ...]]]

    def dump(self) -> bytes:
        """The same as bytes, for this machine."""
        return marshal.dumps((_FORMAT, self.paths, self.rows, self.rare), 4)

    @classmethod
    def load(cls, data: bytes) -> Inventory | None:
        """What was dumped; None for anything else."""
        try:
            version, paths, rows, rare = marshal.loads(data)
        except (ValueError, EOFError, TypeError):
            return None
        return cls(paths, rows, rare) if version == _FORMAT and len(rows) == _ROW.size * len(paths) else None

    def changes_to(self, other: Inventory) -> Changes:
        """What a later inventory has otherwise than this one."""
        size, mine, theirs = _ROW.size, self.rows, other.rows
        if self.paths == other.paths:
            lost: list[str] = []
            # Most blocks are the same, and comparing those costs nothing.
            step = _BLOCK * size
            places = [
                at // size
                for block in range(0, len(mine), step)
                if mine[block : block + step] != theirs[block : block + step]
                for at in range(block, min(block + step, len(mine)), size)
                if mine[at : at + size] != theirs[at : at + size]
            ]
            turned = any((mine[at * size] == _DIRECTORY) != (theirs[at * size] == _DIRECTORY) for at in places)
        else:
            before = dict(zip(self.paths, count(0, size), strict=False))
            places, turned = [], False
            for place, path in enumerate(other.paths):
                at, was = place * size, before.pop(path, -1)
                if was < 0:
                    places.append(place)
                elif mine[was : was + size] != theirs[at : at + size]:
                    places.append(place)
                    turned = turned or (mine[was] == _DIRECTORY) != (theirs[at] == _DIRECTORY)
            lost = list(before)
        if self.rare != other.rare:
            odd = {path for path in {*self.rare, *other.rare} if self.rare.get(path) != other.rare.get(path)}
            places = sorted({*places, *[place for place, path in enumerate(other.paths) if path in odd]})
        return Changes(places, lost, turned)


class Changes(Record):
    """The places, in the later inventory, of entries that are new or different, and the paths that it has lost.

    `turned`: something became a directory, or was one.
    """

    places: list[int]
    lost: list[str]
    turned: bool


def inventory_of(entries: Sequence[Entry], digests: bytes | bytearray | None = None) -> Inventory | None:
    """The inventory of entries in their order; None where it could not say all there is to say about one.

    `digests`: those of the FILE entries, one behind the other in their order,
    where the entries themselves do not have them.
    """
    if digests is None:
        known = [entry[13] if entry[1] == FILE else _NOTHING for entry in entries]
    else:
        taken = iter([bytes(digests[at : at + 32]) for at in range(0, len(digests), 32)])
        known = [next(taken, None) if entry[1] == FILE else _NOTHING for entry in entries]
    if None in known or not _KINDS.keys() >= set(map(itemgetter(1), entries)) or any(map(itemgetter(10), entries)):
        return None  # a device, a whiteout or an opaque directory, or a file nobody has read
    columns = (map(itemgetter(column), entries) for column in (2, 3, 4, 5, 6))
    kinds = map(_KINDS.__getitem__, map(itemgetter(1), entries))
    rows = b"".join(map(_ROW.pack, kinds, *columns, known))
    rare = {entry[0]: (entry[7], entry[9]) for entry in entries if entry[7] or entry[9]}
    return Inventory(tuple(map(itemgetter(0), entries)), rows, rare)
