"""git's index: which files of a work tree git tracks, and whether they are executable.

Read by ourselves and not by `git ls-files`: git takes longer to start than a
build with nothing to do, need not be installed, and refuses repositories of
other users (`safe.directory`). Nothing of the repository is run or followed.
The format is that of gitformat-index(5), versions 2 to 4, with SHA-1 or SHA-256.
"""

from __future__ import annotations

from struct import Struct, error

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    # A path with git's mode. In the part of a split index that names another part, the path may be b"".
    Listed: TypeAlias = tuple[bytes, int]

# Of an index of a million files, and some.
MOST_BYTES = 256 << 20
_HEAD = Struct(">4sII")
_FLAGS = Struct(">H")
_MODE = Struct(">I")
_MODE_AT, _DIGEST_AT = 24, 40
_EXTENDED, _LONG = 0x4000, 0xFFF
_GITLINK, _FILE, _SYMLINK = 0o160000, 0o100000, 0o120000


class Link(Record):
    """The extension of that name: the checksum of the other part of a split index, and what is otherwise than there."""

    digest: bytes
    changes: bytes


class _Unfit(ValueError):
    """The bytes are no entries and extensions with digests of this size."""


def tracked(data: bytes, below: str = "", beside: Callable[[str], bytes] | None = None) -> dict[bytes, int]:
    """The tracked paths below the directory `below` (ends in "/" unless it is ""), relative to it, with git's modes.

    0o100644 and 0o100755 are files, 0o120000 is a symbolic link, 0o160000 a submodule. Of an index that is split,
    `beside` gives the bytes of the file of that name beside it, which has the other part.
    Raises `ValueError` for what is no whole index, and what `beside` raises.
    """
    entries, link = _read(data)
    if link is not None:
        from buildkit_py.executor.git_split_index import joined

        if beside is None or not any(link.digest):
            raise ValueError("it is split: `git update-index --no-split-index` puts it together")
        name = f"sharedindex.{link.digest.hex()}"
        other = beside(name)
        shared, further = _read(other)
        if further is not None or not other.endswith(link.digest):
            raise ValueError(f"its other part, {name}, is damaged")
        entries = joined(shared, entries, link.changes)
    prefix = below.encode("utf-8", "surrogateescape")
    cut, kinds = len(prefix), (_FILE, _SYMLINK, _GITLINK)
    return {path[cut:]: mode for path, mode in entries if path.startswith(prefix) and mode & 0o170000 in kinds}


def _read(data: bytes) -> tuple[list[Listed], Link | None]:
    """All entries of an index in their order, and where the other part is of one that is split."""
    try:
        magic, version, count = _HEAD.unpack_from(data)
    except error as problem:
        raise ValueError("it is cut short") from problem
    if magic != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("it is no index of version 2, 3 or 4")
    unfit: _Unfit | None = None
    # Zeros in place of the checksum may be those of either hash: what is before them says which.
    for size, name in ((20, "sha1"), (32, "sha256")):
        if _sums(data, size, name):
            try:
                return _entries(data, version, count, size)
            except _Unfit as problem:
                unfit = unfit or problem
            except (IndexError, error):
                unfit = unfit or _Unfit("it is cut short")
    raise unfit or ValueError("its checksum is wrong")


def _sums(data: bytes, size: int, name: str) -> bool:
    """Whether the checksum at the end is that of this hash; zeros stand there under `index.skipHash`."""
    import _hashlib

    if len(data) < _HEAD.size + size:
        return False
    body, end = memoryview(data)[:-size], data[-size:]
    return end == _hashlib.new(name, body, usedforsecurity=False).digest() or end == bytes(size)


def _entries(data: bytes, version: int, count: int, size: int) -> tuple[list[Listed], Link | None]:
    found: list[Listed] = []
    at, end = _HEAD.size, len(data) - size
    path, nameless = b"", False
    link: Link | None = None
    for _ in range(count):
        (mode,) = _MODE.unpack_from(data, at + _MODE_AT)
        (flags,) = _FLAGS.unpack_from(data, at + _DIGEST_AT + size)
        start = at + _DIGEST_AT + size + (4 if flags & _EXTENDED and version > 2 else 2)
        if version == 4:
            dropped, start = _offset(data, start)
            stop = data.find(0, start, end)
            path = path[: len(path) - dropped] + data[start:stop]
            following = stop + 1
        else:
            length = flags & _LONG
            stop = start + length if length < _LONG else data.find(0, start, end)
            path = data[start:stop]
            following = at + ((stop - at + 8) & ~7)
        if stop < start or following > end or data[stop] != 0:
            raise _Unfit("it is damaged")
        at = following
        nameless = nameless or not path  # in a split index the other part has the name
        found.append((path, mode))
    while at < end:  # extensions: those in small letters have to be understood
        signature, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8])
        if signature == b"link":
            if length < size or at + 8 + length > end:
                raise _Unfit("it is damaged")
            link = Link(data[at + 8 : at + 8 + size], data[at + 8 + size : at + 8 + length])
        at += 8 + length
    if (nameless and link is None) or at != end:
        raise _Unfit("it is damaged")
    return found, link


def _offset(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, as gitformat-pack(5) has it, and where it ends."""
    byte = data[at]
    value = byte & 127
    while byte & 128:
        at += 1
        byte = data[at]
        value = (value + 1) << 7 | byte & 127
    return value, at + 1
