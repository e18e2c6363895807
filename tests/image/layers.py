"""What the tests of layers share: entries over real files, and blobs in and out of memory."""

from __future__ import annotations

import io
import os
from pathlib import Path

from buildkit_py.image.entry import CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.pack import Packed, pack
from buildkit_py.image.unpack import Unpacked, unpack

ME = (os.geteuid(), os.getegid())
AS_ROOT = os.geteuid() == 0
SECOND = 10**9


def packed(entries: list[Entry], **options: object) -> tuple[Packed, bytes]:
    """Entries as a blob in memory."""
    out = io.BytesIO()
    result = pack(entries, out.write, **options)  # type: ignore[arg-type]
    return result, out.getvalue()


def unpacked(blob: bytes, dest: Path, media_type: str = "", **options: object) -> Unpacked:
    """A blob unpacked into a new directory, with the rights that this process has."""
    dest.mkdir()
    return unpack(
        io.BytesIO(blob).read,
        str(dest),
        media_type=media_type,
        **{"userxattr": not AS_ROOT, "privileged": AS_ROOT, "ignore_owners": not AS_ROOT, **options},  # type: ignore[arg-type]
    )


def file(path: str, data: bytes = b"", mode: int = 0o644, **rest: object) -> Entry:
    """A FILE whose bytes are at hand."""
    fields: dict[str, object] = {"uid": ME[0], "gid": ME[1], **rest}
    return Entry(path, FILE, mode, size=len(data), data=data, **fields)  # type: ignore[arg-type]


def one_of_each() -> list[Entry]:
    """Entries of every kind that this process may create, in order."""
    uid, gid = ME
    entries = [
        Entry("a", DIR, 0o755, uid, gid, mtime=7 * SECOND),
        file("a/empty", b"", 0o600, mtime=5 * SECOND),
        file("a/ünïcode", b"text\n", 0o644, mtime=SECOND),
        Entry("a/gone", WHITEOUT, 0),
        Entry("a/link", SYMLINK, 0o777, uid, gid, mtime=3 * SECOND, target="../b/" + "x" * 120),
        Entry("a/pipe", FIFO, 0o640, uid, gid, mtime=4 * SECOND),
        Entry("b", DIR, 0o1777, uid, gid, mtime=SECOND, opaque=True),
        file("b/" + "n" * 200, b"long name", 0o4755, mtime=2 * SECOND),
        file("b/big", bytes(range(256)) * 8000, 0o444, mtime=9 * SECOND),
        Entry("b/same", HARDLINK, 0o444, uid, gid, mtime=9 * SECOND, target="b/big"),
        file("b/tagged", b"x", 0o644, xattrs=(("user.note", b"\0\xff="),), mtime=SECOND),
        file("no-utf8-\udcff\udc80", b"bytes", 0o640, mtime=SECOND),
        Entry("/".join(["d" * 100] * 4)[:100], DIR, 0o500, uid, gid, mtime=SECOND),
    ]
    if AS_ROOT:
        entries.append(Entry("null", CHAR, 0o666, 0, 0, mtime=SECOND, rdev=os.makedev(1, 3)))
        entries.append(file("theirs", b"mine", 0o4750, uid=3_000_000_000, gid=77, mtime=SECOND))
    return entries
