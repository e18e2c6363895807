"""An entry: one file, directory, link, device or whiteout of a layer, and where its bytes are.

A layer is a sequence of entries, parents before children, sorted by path as
bytes. The same entries are made by walking an overlay's upper directory, by
planning a COPY and by reading a layer's tar; packing, unpacking and the
content digest consume them.
"""

from __future__ import annotations

from buildkit_py.named_tuple import namedtuple

FILE = "file"
DIR = "dir"
SYMLINK = "symlink"
HARDLINK = "hardlink"
FIFO = "fifo"
CHAR = "char"
BLOCK = "block"
WHITEOUT = "whiteout"

# Seconds since 1970 that ext4 keeps for a file (kernel documentation, filesystems/ext4, Inode Timestamps); others keep
# no fewer. What lies outside becomes the nearest of them, as it does in a file that tar(1) makes there.
_FIRST, _LAST = -(1 << 31), (1 << 34) - (1 << 31) - 1
_SECOND = 10**9

# A namedtuple and not a Record: a layer may have 100,000 entries, and this is made in a third of the time.
Entry = namedtuple(
    "Entry",
    (
        "path",  # str, relative to the root, no leading slash, surrogateescape for bytes that are no UTF-8
        "kind",  # one of the constants above
        "mode",  # permission bits, 0o7777
        "uid",
        "gid",
        "size",  # bytes of a FILE, else 0
        "mtime",  # nanoseconds since the epoch
        "target",  # SYMLINK: its text; HARDLINK: path of the entry it shares its inode with; else ""
        "rdev",  # CHAR, BLOCK: device number as os.makedev gives it; else 0
        "xattrs",  # tuple of (name, bytes), sorted; never overlay's own
        "opaque",  # DIR: hides what lower layers have in it
        "source",  # FILE: absolute path of the bytes ("" where `data` holds them)
        "data",  # FILE: the bytes themselves, or None
        "digest",  # FILE: BLAKE3 of the bytes (32 bytes) where known, else None
    ),
    defaults=(0o755, 0, 0, 0, 0, "", 0, (), False, "", None, None),
)


def kept_time(mtime: int) -> int:
    """The time (nanoseconds) that a file has which was given that one, wherever it lies."""
    return min(max(mtime, _FIRST * _SECOND), _LAST * _SECOND)
