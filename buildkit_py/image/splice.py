"""Splicing: the blob of a layer that differs in a few entries from one whose blob is there.

The tar of the old layer is run through once. What did not change is copied
as it stands, and what did is packed in its place; so the new tar has, byte for
byte, what packing all of its entries would give, while only the changed files
are read. That needs to know where in the old tar each entry ends (`Members`).
"""

from __future__ import annotations

import marshal
from bisect import bisect_left
from itertools import pairwise
from sys import byteorder

from buildkit_py.image.compress import MEDIA_TYPES, decompress, kind_of
from buildkit_py.image.entry import WHITEOUT
from buildkit_py.image.order import in_order
from buildkit_py.image.pack import Packed, refuse_forged, write_members
from buildkit_py.image.tar_header import END
from buildkit_py.image.tar_sink import TarSink
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from buildkit_py.image.entry import Entry

_FORMAT = 2


class Members(Record):
    """Where a tar has what: the paths of a layer's entries, in their order, and the offset at which each one ends."""

    diff_id: str
    paths: tuple[str, ...]
    ends: memoryview

    def dump(self) -> bytes:
        """The same as bytes, for this machine."""
        # No path has a NUL in it, and one text takes less room and time than 100,000.
        text = "\0".join(self.paths)
        return marshal.dumps((_FORMAT, byteorder, self.diff_id, text, self.ends.tobytes()), 4)

    @classmethod
    def load(cls, data: bytes) -> Members | None:
        """What was dumped; None for anything else."""
        try:
            version, order, diff_id, text, ends = marshal.loads(data)
            if version == _FORMAT and order == byteorder:
                offsets = memoryview(ends).cast("Q")
                paths = tuple(text.split("\0")) if ends else ()
                return cls(diff_id, paths, offsets) if len(offsets) == len(paths) else None
        except (ValueError, EOFError, TypeError):
            pass
        return None


def splice(
    members: Members,
    read: Callable[[int], bytes],
    changes: Iterable[Entry],
    write: Callable[[bytes], object],
    *,
    compression: str,
    level: int = 0,
) -> Packed:
    """Pack a layer from the blob of an older one, given by `read(size)`, and what is different.

    `changes` are, in any order, entries that the old layer has not, or has otherwise,
    and a WHITEOUT for each that is gone (with all below it, if it was a
    directory). `read` is read to its end, so that it can be verified. Raises
    `ContextError` as `pack` does, `SourceError` for a damaged blob, `ValueError`
    where the blob is not what `members` says.
    """
    ordered = in_order(changes)
    refuse_forged([entry for entry in ordered if entry.kind != WHITEOUT])
    cuts, count = _cuts(members, ordered)
    total = members.ends[-1] if members.ends else 0
    first = read(1 << 18)
    kind = kind_of("", first[:6])
    old = _Old(decompress(_again(first, read), kind))
    sink = TarSink(write, compression, level, expected=total + sum([entry.size for entry in ordered]))
    try:
        at = 0
        for start, end, entry in cuts:
            old.copy(start - at, sink.put)
            old.skip(end - start)
            at = end
            if entry is not None:
                write_members([entry], sink)
        old.copy(total - at, sink.put)
        if old.rest() != END:
            raise ValueError("the tar does not end where its members do")
        sink.put(END)
        diff_id, digest = sink.finish()
    except BaseException:
        sink.abandon()
        raise
    return Packed(diff_id, digest, sink.size, MEDIA_TYPES[compression], "", count, sink.bytes)


def _cuts(members: Members, changes: Sequence[Entry]) -> tuple[list[tuple[int, int, Entry | None]], int]:
    """What to take out of the old tar, from where to where, and what to put there, in order; the entries it makes."""
    paths, ends = members.paths, members.ends
    # Entries are in the order of their paths' bytes, which is that of text unless a path is not ASCII.
    ascii_only = all(map(str.isascii, paths)) and all(entry.path.isascii() for entry in changes)
    found: list[tuple[int, int, Entry | None]] = []
    count = len(paths)

    def place(path: str) -> int:
        return bisect_left(paths, path) if ascii_only else bisect_left(paths, _bytes(path), key=_bytes)

    def offset(index: int) -> int:
        return ends[index - 1] if index else 0

    for entry in changes:
        index = place(entry.path)
        there = index < len(paths) and paths[index] == entry.path
        if entry.kind != WHITEOUT:
            found.append((offset(index), offset(index + there), entry))
            count += not there
            continue
        if not there:
            raise ValueError(f"{entry.path} is gone, but was not there")
        found.append((offset(index), offset(index + 1), None))
        # "0" follows "/": all paths that begin with this one and a slash stand between them.
        first, last = place(f"{entry.path}/"), place(f"{entry.path}0")
        if first < last:
            found.append((offset(first), offset(last), None))
        count -= 1 + last - first
    # What is put before a member comes before what becomes of that, and of two things put there the first is first.
    found.sort(key=lambda cut: cut[:2])
    if any(one[1] > following[0] for one, following in pairwise(found)):
        raise ValueError("two changes concern one member")
    return found, count


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _again(first: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A `read` whose first answer was taken already."""
    waiting = [first]

    def whole(size: int) -> bytes:
        return waiting.pop() if waiting else read(size)

    return whole


class _Old:
    """The old tar, run through from its beginning to its end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0

    def copy(self, size: int, put: Callable[[bytes], None]) -> None:
        while size:
            piece = self._take(size)
            size -= len(piece)
            put(piece)

    def skip(self, size: int) -> None:
        while size:
            size -= len(self._take(size))

    def rest(self) -> bytes:
        """What is left, which is little; reads on to the end of the source."""
        left = self._piece[self._at :]
        for piece in self._pieces:
            left = (left + piece)[: 2 * len(END)]
        return left

    def _take(self, size: int) -> bytes:
        """The next bytes, `size` or fewer."""
        if self._at == len(self._piece):
            self._piece, self._at = next(self._pieces, b""), 0
            if not self._piece:
                raise ValueError("the tar is shorter than its members")
        start = self._at
        self._at = min(start + size, len(self._piece))
        return self._piece if self._at - start == len(self._piece) else self._piece[start : self._at]
