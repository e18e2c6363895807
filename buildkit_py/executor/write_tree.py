"""Writing entries as files: a layer's directory without the detour over a tar, or the first contents of a cache mount.

The result is what packing and unpacking the same entries would give, times in
whole seconds included, so that a layer has the same blob whichever way it came.
"""

from __future__ import annotations

import os

from buildkit_py.image.batches import changed, unreadable
from buildkit_py.image.content import ContentDigest
from buildkit_py.image.directories import Directories
from buildkit_py.image.entry import FILE
from buildkit_py.image.order import in_order
from buildkit_py.image.tree_writer import TreeWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blake3 import blake3

    from buildkit_py.image.entry import Entry
    from buildkit_py.sandbox.userns import Identity

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 20
_SMALL = 1 << 16
_SECOND = 10**9


def write_tree(entries: Iterable[Entry], dest: str, identity: Identity, digests: bytearray | None = None) -> str:
    """Write entries, in any order, into the empty directory `dest`; the content digest of what was written.

    `digests` gets the digest of each FILE's bytes, one behind the other, in the
    entries' order. Raises `ContextError` for a file that is not what its entry says any more.
    """
    from blake3 import blake3

    content = ContentDigest()
    with (
        TreeWriter(
            dest, userxattr=identity.userns, devices=identity.privileged, ignore_owners=identity.single_id
        ) as writer,
        Directories("/") as directories,
    ):
        for entry in in_order(entries):
            if entry[1] == FILE and entry[5] <= _SMALL and not entry[9]:
                data = _whole(entry, directories)
                digest = blake3(data).digest()
                if entry[13] is not None and entry[13] != digest:
                    raise changed(entry)
                content.add(entry, digest)
                if digests is not None:
                    digests += digest
                parent, _, name = entry[0].rpartition("/")
                mtime = entry[6] // _SECOND * _SECOND
                writer.small_file(parent, (name, entry[2], entry[3], entry[4], mtime, data))
                continue
            placed = entry._replace(mtime=entry.mtime // _SECOND * _SECOND)
            if entry.kind != FILE:
                writer.other(placed)
                if entry.opaque:
                    writer.opaque(entry.path)
                content.add(entry, b"")
                continue
            hasher = blake3()
            if entry.data is not None:
                hasher.update(entry.data)
                writer.file(placed, (entry.data,) if entry.data else ())
            else:
                writer.file(placed, _pieces(entry, hasher, directories))
            digest = hasher.digest()
            if entry.digest is not None and entry.digest != digest:
                raise changed(entry)
            content.add(entry, digest)
            if digests is not None:
                digests += digest
        writer.finish()
    return content.hexdigest()


def _open(entry: Entry, directories: Directories) -> int:
    above, _, name = entry[11].rpartition("/")
    try:
        return os.open(name, _OPEN, dir_fd=directories.at(above[1:]))
    except OSError as problem:
        raise unreadable(entry, problem) from problem


def _whole(entry: Entry, directories: Directories) -> bytes:
    """All bytes of a small file."""
    if entry[12] is not None:
        return entry[12]  # type: ignore[no-any-return]
    fd = _open(entry, directories)
    try:
        before = os.fstat(fd)
        data = os.read(fd, entry[5] + 1)
        seen = os.fstat(fd)
        if len(data) != entry[5] or seen.st_mtime_ns != entry[6] or seen.st_ctime_ns != before.st_ctime_ns:
            raise changed(entry)
        return data
    finally:
        os.close(fd)


def _pieces(entry: Entry, hasher: blake3, directories: Directories) -> Iterator[bytes]:
    """The bytes of a file, which must be the file that was listed from its first byte to its last."""
    fd = _open(entry, directories)
    try:
        before = os.fstat(fd)
        count = 0
        while piece := os.read(fd, _PIECE):
            count += len(piece)
            hasher.update(piece)
            yield piece
        seen = os.fstat(fd)
        if count != entry.size or seen.st_mtime_ns != entry.mtime or seen.st_ctime_ns != before.st_ctime_ns:
            raise changed(entry)
    finally:
        os.close(fd)
