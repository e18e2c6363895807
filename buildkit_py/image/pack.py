"""Packing: entries to a layer blob, a deterministic tar through a compressor.

Each file is read once; that read feeds the tar, its SHA-256 (`diff_id`), the
compressor, the blob's SHA-256 (`digest`) and, if wanted, the BLAKE3 of the
file for the layer's content digest. Equal entries over equal bytes give equal
blobs, on any machine with the same libzstd or zlib.

A file must still be what its entry says: a regular file of that size and
mtime (and digest, if the entry has one), reached without a symbolic link.
Anything else means that it was changed while the build ran, and is an error.
"""

from __future__ import annotations

import os
import stat

from buildkit_py.errors import ContextError
from buildkit_py.image.compress import MEDIA_TYPES
from buildkit_py.image.content import ContentDigest
from buildkit_py.image.directories import Directories
from buildkit_py.image.entry import DIR, FILE
from buildkit_py.image.order import in_order
from buildkit_py.image.tar_header import BLOCK_SIZE, END, PADDING, WHITEOUT_PREFIX, HeaderWriter
from buildkit_py.image.tar_sink import TarSink
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from blake3 import blake3

    from buildkit_py.image.entry import Entry

_PIECE = 1 << 20
# Up to here a file is read in one call, hashed in one call and copied once more to join its header.
_SMALL = 1 << 16
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SECOND = 10**9


class Packed(Record):
    """A packed layer. `digest` and `size` are of the blob, `bytes` is the size of the tar in it.

    `content` is the content digest, empty where not asked for.
    """

    diff_id: str
    digest: str
    size: int
    media_type: str
    content: str
    entries: int
    bytes: int


def pack(
    entries: Iterable[Entry],
    write: Callable[[bytes], object],
    *,
    compression: str = "zstd",
    level: int = 0,
    epoch: int | None = None,
    hash_files: bool = False,
    learn: Callable[[Entry, bytes], object] | None = None,
    ends: list[int] | None = None,
) -> Packed:
    """Pack entries, in any order, and give the blob to `write` in pieces (from another thread).

    `epoch`: times later than these seconds become it. `hash_files`: also take
    the content digest. `learn`: told the BLAKE3 of each FILE, so that whoever
    keeps digests need not read it again. `ends` is filled with where each entry ends in the tar, in
    their order. Raises `ContextError` for a file that is not what its
    entry says, `OSError` for one that cannot be read, and what `write` raises.
    """
    ordered = in_order(entries)
    refuse_forged(ordered)
    sink = TarSink(write, compression, level, expected=sum([entry.size for entry in ordered]) + len(ordered) * 1024)
    content = ContentDigest() if hash_files else None
    try:
        with Directories("/") as directories:
            write_members(ordered, sink, directories, content, epoch, learn, ends)
        sink.put(END)
        diff_id, digest = sink.finish()
    except BaseException:
        sink.abandon()
        raise
    return Packed(
        diff_id=diff_id,
        digest=digest,
        size=sink.size,
        media_type=MEDIA_TYPES[compression],
        content=content.hexdigest() if content is not None else "",
        entries=len(ordered),
        bytes=sink.bytes,
    )


def refuse_forged(ordered: list[Entry]) -> None:
    """A layer says by the name `.wh.NAME` that NAME is gone, so no file of a layer can be called so."""
    if not any(".wh." in entry[0] for entry in ordered):
        return
    for entry in ordered:
        if entry.path.rpartition("/")[2].startswith(WHITEOUT_PREFIX):
            raise ContextError(
                f"{entry.path}: a file whose name begins with `{WHITEOUT_PREFIX}` cannot be in a layer",
                at=entry.source or None,
                hint="the format of image layers keeps such names for what is deleted (OCI image-spec, layer.md)",
            )


def write_members(
    ordered: list[Entry],
    sink: TarSink,
    directories: Directories,
    content: ContentDigest | None = None,
    epoch: int | None = None,
    learn: Callable[[Entry, bytes], object] | None = None,
    ends: list[int] | None = None,
) -> None:
    """Put the members of sorted entries into a sink, whose paths on this machine begin at `directories`' root, `/`."""
    from blake3 import blake3

    headers = HeaderWriter()
    header, plain = headers.header, headers.plain
    put = sink.put
    directory: str | None = None
    fd_of_directory = -1
    # Locals, and few calls: this loop runs once a file, and 50,000 files are an ordinary layer.
    os_open, os_read, os_fstat, os_close = os.open, os.read, os.fstat, os.close
    regular, file_type = stat.S_IFREG, stat.S_IFMT
    hash_all = content is not None or learn is not None
    for entry in ordered:
        path, kind, mode, uid, gid, size, mtime, _, _, xattrs, opaque, source, data, known = entry
        seconds = mtime // _SECOND
        if epoch is not None and seconds > epoch:
            seconds = epoch
        if kind != FILE:
            put(header(entry, seconds))
            if content is not None:
                content.add(entry, b"")
            if opaque and kind == DIR:
                put(headers.opaque_mark(path))
            if ends is not None:
                ends.append(sink.position())
            continue
        head = (b"" if xattrs else plain(path, mode, uid, gid, size, seconds)) or header(entry, seconds)
        hashed = hash_all or known is not None
        digest = b""
        if data is not None:
            if len(data) != size:
                raise ValueError(f"{path} has {len(data)} bytes of data but says {size}")
            put(head + data + PADDING[size % BLOCK_SIZE])
            if hashed:
                digest = blake3(data).digest()
        else:
            parent, _, name = source.rpartition("/")
            try:
                if parent != directory:
                    fd_of_directory = directories.at(parent[1:])
                    directory = parent
                fd = os_open(name, _OPEN, dir_fd=fd_of_directory)
            except OSError as problem:
                raise _unreadable(entry, problem) from problem
            try:
                # One byte more than it should have tells whether it grew.
                piece = os_read(fd, size + 1 if size <= _SMALL else _PIECE)
                count = len(piece)
                if count == size and count <= _SMALL:
                    put(head + piece + PADDING[size % BLOCK_SIZE])
                    if hashed:
                        digest = blake3(piece).digest()
                else:
                    put(head)
                    put(piece)
                    hasher = blake3(piece) if hashed else None
                    count += _copy(fd, size + 1 - count, put, hasher)
                    put(PADDING[size % BLOCK_SIZE])
                    digest = hasher.digest() if hasher is not None else b""
                # Looked at after reading: had it been written to meanwhile, its mtime would be another.
                now = os_fstat(fd)
            except BrokenPipeError:  # of whoever takes the bytes: reading a file has no such end
                raise
            except OSError as problem:
                raise _unreadable(entry, problem) from problem
            finally:
                os_close(fd)
            if (
                count != size
                or now.st_size != size
                or now.st_mtime_ns != mtime
                or file_type(now.st_mode) != regular
                or (known is not None and digest != known)
            ):
                raise _changed(entry)
        if ends is not None:
            ends.append(sink.position())
        if content is not None:
            content.add(entry, digest)
        if learn is not None:
            learn(entry, digest)


def _copy(fd: int, wanted: int, put: Callable[[bytes], None], hasher: blake3 | None) -> int:
    """Put up to `wanted` bytes of an open file; how many it had."""
    count = 0
    while count < wanted:
        piece = os.read(fd, min(_PIECE, wanted - count))
        if not piece:
            break
        put(piece)
        if hasher is not None:
            hasher.update(piece)
        count += len(piece)
    return count


def _changed(entry: Entry) -> ContextError:
    return ContextError(
        f"{entry.path} changed while it was being read", at=entry.source, hint="run the build again when it is at rest"
    )


def _unreadable(entry: Entry, problem: OSError) -> ContextError:
    import errno

    if problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN, errno.ENXIO):
        return _changed(entry)
    return ContextError(f"{entry.path} cannot be read ({problem.strerror})", at=entry.source)
