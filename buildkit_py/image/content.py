"""The content digest: what a tree is, and nothing about how or when it was made.

BLAKE3-256, in hex, over `pybuild-content-1\\n` and then each entry in the
order of `image.order`:

    entry  = kind path mode "," uid "," gid ";" body xattrs
    kind   = f file, l further name of a file, d directory, s symbolic link,
             p fifo, c character device, b block device, w whiteout
    path   = <length> ":" <bytes>            (numbers are decimal, the mode octal)
    body   = f: the 32 bytes of BLAKE3 of the content
             l: path of the first name
             d: "o" if it hides what lower layers have in it, else "-"
             s: <length> ":" <target>
             c, b: device number ";"
    xattrs = <count> ";" then for each, sorted: <length> ":" name <length> ":" value

Times are left out: a rebuilt file with the old bytes is the old file. A
whiteout has mode and owner 0, a symbolic link the mode 777, a further name
the mode, owner and xattrs of the first one.
"""

from __future__ import annotations

import os

from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.order import in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FORMAT = b"pybuild-content-1\n"
# So many bytes are hashed together: part by part is slow, and all of them are 15 MB for 100,000 files.
_TOGETHER = 1 << 18


class ContentDigest:
    """Builds a content digest one entry after the other, for those who read the files anyway.

    `keep` takes the bytes that are hashed, piece by piece: `image/listing.py` reads them.
    """

    def __init__(self, keep: list[bytes] | None = None) -> None:
        from blake3 import blake3

        self._hasher = blake3(_FORMAT)
        self._parts: list[bytes] = []
        self._size = 0
        self._keep = keep

    def add(self, entry: Entry, digest: bytes) -> None:
        """One more entry, in order; `digest` is the BLAKE3 of a FILE's bytes, else unused."""
        self.put(entry_part(entry, digest))

    def put(self, part: bytes) -> None:
        """What `entry_part` says of one or several more entries, in order."""
        self._parts.append(part)
        self._size += len(part)
        if self._size >= _TOGETHER:
            self._take()

    def hexdigest(self) -> str:
        """The digest of what was added, as 64 hex digits."""
        self._take()
        return self._hasher.hexdigest()

    def _take(self) -> None:
        piece = b"".join(self._parts)
        self._hasher.update(piece)
        self._parts.clear()
        self._size = 0
        if self._keep is not None:
            self._keep.append(piece)


def file_part(path: str, mode: int, uid: int, gid: int, digest: bytes) -> bytes:
    """What is hashed of a file without xattrs."""
    raw = path.encode("utf-8", "surrogateescape")
    return b"f%d:%b%o,%d,%d;%b0;" % (len(raw), raw, mode, uid, gid, digest)


def entry_part(entry: Entry, digest: bytes) -> bytes:
    """What is hashed of an entry; `digest` is the BLAKE3 of a FILE's bytes, else unused."""
    path, kind, mode, uid, gid, _, _, target, rdev, xattrs, opaque, *_ = entry
    if kind == FILE and not xattrs:  # nearly all there are
        return file_part(path, mode, uid, gid, digest)
    raw = path.encode("utf-8", "surrogateescape")
    if kind == FILE:
        head = b"f%d:%b%o,%d,%d;%b" % (len(raw), raw, mode, uid, gid, digest)
    elif kind == DIR:
        head = b"d%d:%b%o,%d,%d;%b" % (len(raw), raw, mode, uid, gid, b"o" if opaque else b"-")
    elif kind == SYMLINK:
        link = target.encode("utf-8", "surrogateescape")
        head = b"s%d:%b777,%d,%d;%d:%b" % (len(raw), raw, uid, gid, len(link), link)
    elif kind == HARDLINK:
        link = target.encode("utf-8", "surrogateescape")
        head = b"l%d:%b%o,%d,%d;%d:%b" % (len(raw), raw, mode, uid, gid, len(link), link)
    elif kind == FIFO:
        head = b"p%d:%b%o,%d,%d;" % (len(raw), raw, mode, uid, gid)
    elif kind in (CHAR, BLOCK):
        letter = b"c" if kind == CHAR else b"b"
        head = b"%b%d:%b%o,%d,%d;%d;" % (letter, len(raw), raw, mode, uid, gid, rdev)
    elif kind == WHITEOUT:
        return b"w%d:%b0,0,0;0;" % (len(raw), raw)
    else:
        raise ValueError(f"no such kind of entry: {kind!r}")
    parts = [head, b"%d;" % len(xattrs)]
    for name, value in xattrs:
        raw = name.encode("utf-8", "surrogateescape")
        parts.append(b"%d:%b%d:%b" % (len(raw), raw, len(value), value))
    return b"".join(parts)


def content_digest(
    entries: Iterable[Entry],
    keep: list[bytes] | None = None,
    digest_of: Callable[[Entry], bytes] | None = None,
) -> str:
    """The content digest of some entries in any order; of files without a digest `digest_of` says it, or it is taken.

    `keep` takes what was hashed. Raises `OSError` where a file cannot be read.
    """
    building = ContentDigest(keep)
    put, said = building.put, digest_of or file_digest
    for entry in in_order(entries):
        path, kind, mode, uid, gid, _, _, _, _, xattrs, _, _, _, digest = entry
        if kind != FILE:
            put(entry_part(entry, b""))
        elif xattrs:
            put(entry_part(entry, digest or said(entry)))
        else:
            put(file_part(path, mode, uid, gid, digest or said(entry)))
    return building.hexdigest()


def file_digest(entry: Entry) -> bytes:
    """BLAKE3 of a FILE entry's bytes: the known one, or taken now."""
    if entry.digest is not None:
        return entry.digest  # type: ignore[no-any-return]
    if entry.data is not None:
        from blake3 import blake3

        return blake3(entry.data).digest()
    return hash_file(entry.source)


def hash_file(path: str, *, unseen: bool = False) -> bytes:
    """BLAKE3 of a regular file's bytes (32 bytes). Raises `OSError`; never follows a link, never waits on a fifo.

    `unseen`: its time of reading stays as it was, if it is ours (open(2), O_NOATIME).
    """
    import stat

    from blake3 import blake3

    from buildkit_py.image.true_path import open_true

    try:
        fd = open_true(path, os.O_NOATIME if unseen else 0)
    except PermissionError:
        if not unseen:
            raise
        fd = open_true(path)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(22, "not a regular file", path)
        hasher = blake3()
        while piece := os.read(fd, 1 << 20):
            hasher.update(piece)
        return hasher.digest()
    finally:
        os.close(fd)
