"""A listing: the bytes that a content digest was made of, read back, so that two of them can be compared by name."""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # For each source of a step, what was taken of it: each thing's path there, and its listing.
    Listings: TypeAlias = tuple[tuple[tuple[str, bytes], ...], ...]

_KINDS = {
    b"f": "file",
    b"l": "hard link",
    b"d": "directory",
    b"s": "symbolic link",
    b"p": "fifo",
    b"c": "device",
    b"b": "device",
    b"w": "whiteout",
}
_FILE_DIGEST = 32


class Listed(Record):
    """One entry of a listing: `body` are a file's digest, a link's target, a device's number; `xattrs` as listed."""

    kind: str
    mode: int
    uid: int
    gid: int
    body: bytes
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


def listed(data: bytes) -> dict[str, Listed]:
    """The entries of a listing by path. Raises `ValueError` for bytes that are none."""
    found: dict[str, Listed] = {}
    reader = _Reader(data)
    while not reader.at_end:
        path, entry = reader.entry()
        found[path.decode("utf-8", "surrogateescape")] = entry
    return found


class _Reader:
    """Reads what `ContentDigest` writes; its module has the form."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._data)

    def entry(self) -> tuple[bytes, Listed]:
        kind = self._take(1)
        if kind not in _KINDS:
            raise ValueError(f"no such kind of entry: {kind!r}")
        path = self._counted()
        mode = int(self._until(b","), 8)
        uid = int(self._until(b","))
        gid = int(self._until(b";"))
        body = b""
        if kind == b"f":
            body = self._take(_FILE_DIGEST)
        elif kind == b"d":
            body = self._take(1)
        elif kind in (b"s", b"l"):
            body = self._counted()
        elif kind in (b"c", b"b"):
            body = self._until(b";")
        xattrs = tuple((self._counted(), self._counted()) for _ in range(int(self._until(b";"))))
        return path, Listed(_KINDS[kind], mode, uid, gid, body, xattrs)

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise ValueError("the listing ends in the middle of an entry")
        self._at += count
        return piece

    def _until(self, mark: bytes) -> bytes:
        end = self._data.index(mark, self._at)
        piece = self._data[self._at : end]
        self._at = end + 1
        return piece

    def _counted(self) -> bytes:
        return self._take(int(self._until(b":")))
