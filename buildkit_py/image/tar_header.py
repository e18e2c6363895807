"""Tar headers: the 512 bytes before each member, and PAX records where those cannot hold it.

What every reader of layers (Go's archive/tar, GNU tar, libarchive, Python)
takes: POSIX ustar with numeric owners and no names; a PAX header in front
only for a name that is long or not ASCII, for xattrs (`SCHILY.xattr.NAME`)
and for numbers that do not fit. Times are whole seconds, as docker's layers
have them. A name that is no UTF-8 is written as its bytes.
"""

from __future__ import annotations

import os
from zlib import adler32

from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.image.entry import Entry

BLOCK_SIZE = 512
PADDING = tuple(bytes(-n % BLOCK_SIZE) for n in range(BLOCK_SIZE))
END = bytes(2 * BLOCK_SIZE)

OPAQUE_MARK = ".wh..wh..opq"
WHITEOUT_PREFIX = ".wh."

_FLAGS = {
    FILE: b"0",
    HARDLINK: b"1",
    SYMLINK: b"2",
    CHAR: b"3",
    BLOCK: b"4",
    DIR: b"5",
    FIFO: b"6",
    WHITEOUT: b"0",
}
# The largest owner that stands in a header itself.
MAX_ID = 0o7777777
_MAX_12 = 0o77777777777


def _tail(flag: bytes, link: bytes, rdev: int, prefix: bytes) -> bytes:
    """What follows the checksum: type, link name, magic, device numbers, prefix."""
    return b"".join(
        (
            flag,
            link.ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"%07o\0%07o\0" % (os.major(rdev), os.minor(rdev)),
            prefix.ljust(167, b"\0"),
        )
    )


class HeaderWriter:
    """Makes headers. Keeps a template for each (type, mode, owner), of which a layer has few."""

    def __init__(self) -> None:
        self._templates: dict[tuple[str, int, int, int], tuple[bytes, bytes, int]] = {}
        self._files: dict[tuple[int, int, int], tuple[bytes, bytes, int]] = {}

    def header(self, entry: Entry, seconds: int) -> bytes:
        """The header blocks of one entry, its time given in whole seconds."""
        path, kind, mode, uid, gid, size, _, target, rdev, xattrs, _, _, _, _ = entry
        if kind == DIR:
            path = f"{path}/" if path else "./"
        elif kind == WHITEOUT:
            parent, slash, name = path.rpartition("/")
            path = f"{parent}{slash}{WHITEOUT_PREFIX}{name}"
            mode = uid = gid = seconds = 0
        elif kind == SYMLINK:
            mode = 0o777
        name = path.encode("utf-8", "surrogateescape")
        if (
            len(name) > 100
            or target
            or rdev
            or xattrs
            or not 0 <= seconds <= _MAX_12
            or size > _MAX_12
            or uid > MAX_ID
            or gid > MAX_ID
            or not path.isascii()
        ):
            return self._long(name, kind, mode, uid, gid, size, seconds, target, rdev, xattrs)
        key = (kind, mode, uid, gid)
        template = self._templates.get(key)
        if template is None:
            owner = b"%07o\0%07o\0%07o\0" % (mode, uid, gid)
            tail = _tail(_FLAGS[kind], b"", 0, b"")
            template = owner, tail, sum(owner) + sum(tail) + 8 * 32
            self._templates[key] = template
        owner, tail, base = template
        numbers = b"%011o\0%011o\0" % (size, seconds)
        check = base + (adler32(name) & 0xFFFF) + (adler32(numbers) & 0xFFFF) - 2
        return b"%b%b%b%06o\0 %b" % (name.ljust(100, b"\0"), owner, numbers, check, tail)

    def plain(self, path: str, mode: int, uid: int, gid: int, size: int, seconds: int) -> bytes:
        """The header of a regular file without xattrs, as `header` gives it; nothing where it is no ordinary one."""
        template = self._files.get((mode, uid, gid))
        if template is None:
            if uid > MAX_ID or gid > MAX_ID:
                return b""
            owner = b"%07o\0%07o\0%07o\0" % (mode, uid, gid)
            tail = _tail(b"0", b"", 0, b"")
            template = self._files[mode, uid, gid] = owner, tail, sum(owner) + sum(tail) + 8 * 32 - 2
        if len(path) > 100 or not path.isascii() or size > _MAX_12 or not 0 <= seconds <= _MAX_12:
            return b""
        owner, tail, base = template
        name = path.encode()
        numbers = b"%011o\0%011o\0" % (size, seconds)
        check = base + (adler32(name) & 0xFFFF) + (adler32(numbers) & 0xFFFF)
        return b"%b%b%b%06o\0 %b" % (name.ljust(100, b"\0"), owner, numbers, check, tail)

    def opaque_mark(self, path: str) -> bytes:
        """The header of the empty file that says: nothing of lower layers in this directory."""
        name = f"{path}/{OPAQUE_MARK}" if path else OPAQUE_MARK
        raw = name.encode("utf-8", "surrogateescape")
        return self._long(raw, FILE, 0, 0, 0, 0, 0, "", 0, ())

    def _long(
        self,
        name: bytes,
        kind: str,
        mode: int,
        uid: int,
        gid: int,
        size: int,
        seconds: int,
        target: str,
        rdev: int,
        xattrs: tuple[tuple[str, bytes], ...],
    ) -> bytes:
        """The general case: with a prefix, a link, a device, or PAX records."""
        records: list[tuple[bytes, bytes]] = []
        prefix = b""
        short = name
        if not name.isascii():
            records.append((b"path", name))
            short = name[:100]
        elif len(name) > 100:
            prefix, short = _split(name)
            if not short:
                records.append((b"path", name))
                short = name[:100]
        link = target.encode("utf-8", "surrogateescape")
        if len(link) > 100 or not link.isascii():
            records.append((b"linkpath", link))
            link = link[:100]
        if uid > MAX_ID:
            records.append((b"uid", b"%d" % uid))
            uid = 0
        if gid > MAX_ID:
            records.append((b"gid", b"%d" % gid))
            gid = 0
        if size > _MAX_12:
            records.append((b"size", b"%d" % size))
            size = 0
        if not 0 <= seconds <= _MAX_12:
            records.append((b"mtime", b"%d" % seconds))
            seconds = 0
        for key, value in xattrs:
            records.append((b"SCHILY.xattr." + key.encode("utf-8", "surrogateescape"), value))
        head = pax(records, name) if records else b""
        return head + _ustar(short, _FLAGS[kind], mode, uid, gid, size, seconds, link, rdev, prefix)


def _ustar(
    name: bytes,
    flag: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    seconds: int,
    link: bytes = b"",
    rdev: int = 0,
    prefix: bytes = b"",
) -> bytes:
    front = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, uid, gid, size, seconds)
    tail = _tail(flag, link, rdev, prefix)
    return b"%b%06o\0 %b" % (front, sum(front) + sum(tail) + 8 * 32, tail)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """A long name as (prefix, name) of ustar; two times nothing where no slash allows it."""
    if len(name) > 256:
        return b"", b""
    at = name.find(b"/", len(name) - 101)
    if at <= 0 or at > 155 or at == len(name) - 1:
        return b"", b""
    return name[:at], name[at + 1 :]


def pax(records: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    """A PAX extended header (POSIX pax, "x") with its data, padded."""
    body = bytearray()
    for key, value in sorted(records):
        bare = len(key) + len(value) + 3
        length = bare + len(str(bare))
        if len(str(length)) > len(str(bare)):
            length += 1
        body += b"%d %b=%b\n" % (length, key, value)
    shown = b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2][:80]
    head = _ustar(shown, b"x", 0o644, 0, 0, len(body), 0)
    return head + bytes(body) + PADDING[len(body) % BLOCK_SIZE]
