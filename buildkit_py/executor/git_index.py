"""git's index: which files of a work tree git tracks, and whether they are executable.

Read by ourselves and not by `git ls-files`: git takes longer to start than a
build with nothing to do, need not be installed, and refuses repositories of
other users (`safe.directory`). Nothing of the repository is run or followed.
The format is that of gitformat-index(5), versions 2 to 4, with SHA-1 or SHA-256.
"""

from __future__ import annotations

from struct import Struct, error

# Of an index of a million files, and some.
MOST_BYTES = 256 << 20
_HEAD = Struct(">4sII")
_FLAGS = Struct(">H")
_MODE = Struct(">I")
_MODE_AT, _DIGEST_AT = 24, 40
_EXTENDED, _LONG = 0x4000, 0xFFF
_GITLINK, _FILE, _SYMLINK = 0o160000, 0o100000, 0o120000


class _Unfit(ValueError):
    """The bytes are no entries and extensions with digests of this size."""


def tracked(data: bytes, below: str = "") -> dict[bytes, int]:
    """The tracked paths below the directory `below` (ends in "/" unless it is ""), relative to it, with git's modes.

    0o100644 and 0o100755 are files, 0o120000 is a symbolic link, 0o160000 a submodule.
    Raises `ValueError` for what is no whole index, or is in parts.
    """
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
                return _entries(data, version, count, size, below.encode("utf-8", "surrogateescape"))
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


def _entries(data: bytes, version: int, count: int, size: int, below: bytes) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    at, cut, end = _HEAD.size, len(below), len(data) - size
    path, nameless = b"", False
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
        if path.startswith(below) and (mode & 0o170000) in (_FILE, _SYMLINK, _GITLINK):
            found[path[cut:]] = mode
    while at < end:  # extensions: those in small letters have to be understood
        signature, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8])
        if signature == b"link":
            raise ValueError("it is split: `git update-index --no-split-index` puts it together")
        at += 8 + length
    if nameless or at != end:
        raise _Unfit("it is damaged")
    return found


def _offset(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, as gitformat-pack(5) has it, and where it ends."""
    byte = data[at]
    value = byte & 127
    while byte & 128:
        at += 1
        byte = data[at]
        value = (value + 1) << 7 | byte & 127
    return value, at + 1
