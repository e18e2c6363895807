"""Packing: entries to a layer blob, a deterministic tar through a compressor.

Each file is read once; that read feeds the tar, its SHA-256 (`diff_id`), the
compressor, the blob's SHA-256 (`digest`) and, if wanted, the BLAKE3 of the
file for the layer's content digest. Small files are read by two processes
(`batches.py`), large ones here. Equal entries over equal bytes give equal
blobs, on any machine with the same libzstd or zlib.

A file must still be what its entry says: a regular file of that size and
mtime (and digest, if the entry has one), reached without a symbolic link.
Anything else means that it was changed while the build ran, and is an error.
"""

from __future__ import annotations

import os
import stat

from buildkit_py.errors import ContextError
from buildkit_py.image.batch import SMALL
from buildkit_py.image.batches import Batches, changed, offsets, unreadable
from buildkit_py.image.compress import MEDIA_TYPES
from buildkit_py.image.content import ContentDigest, entry_part
from buildkit_py.image.entry import DIR, FILE
from buildkit_py.image.order import in_order
from buildkit_py.image.tar_header import BLOCK_SIZE, END, PADDING, WHITEOUT_PREFIX, HeaderWriter
from buildkit_py.image.tar_sink import TarSink
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from blake3 import blake3

    from buildkit_py.image.directories import Directories
    from buildkit_py.image.entry import Entry

_PIECE = 1 << 20
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
    digests: bytearray | None = None,
    ends: bytearray | None = None,
) -> Packed:
    """Pack entries, in any order, and give the blob to `write` in pieces (from another thread).

    `epoch`: times later than these seconds become it. `hash_files`: also take
    the content digest. `digests` gets the BLAKE3 of each FILE, one behind the
    other, so that whoever keeps digests need not read it again; `ends` gets
    where each entry ends in the tar, as `offsets` writes it. Both are in the entries' order. Raises
    `ContextError` for a file that is not what its entry says or cannot be read,
    and what `write` raises.
    """
    ordered = in_order(entries)
    refuse_forged(ordered)
    sink = TarSink(write, compression, level, expected=sum([entry.size for entry in ordered]) + len(ordered) * 1024)
    content = ContentDigest() if hash_files else None
    try:
        write_members(ordered, sink, content, epoch, digests, ends)
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
    content: ContentDigest | None = None,
    epoch: int | None = None,
    digests: bytearray | None = None,
    ends: bytearray | None = None,
) -> None:
    """Put the members of sorted entries into a sink; the rest is as for `pack`."""
    hashed = content is not None or digests is not None
    headers = HeaderWriter()
    small = sum([entry[1] == FILE and entry[5] <= SMALL for entry in ordered])
    with Batches(sink, content, epoch, digests, ends, small) as batches:
        take = batches.file
        for entry in ordered:
            if entry[1] == FILE:
                if take(entry):
                    continue
                batches.settle()
                digest = _put_file(entry, sink, headers, batches.directories, epoch, hashed)
                if content is not None:
                    content.add(entry, digest)
                if digests is not None:
                    digests += digest
                if ends is not None:
                    ends += offsets([sink.position()])
                continue
            tar = headers.header(entry, _seconds(entry, epoch))
            if entry[10] and entry[1] == DIR:
                tar += headers.opaque_mark(entry[0])
            batches.other(entry, tar, entry_part(entry, b"") if content is not None else b"")
        batches.settle()


def _seconds(entry: Entry, epoch: int | None) -> int:
    seconds: int = entry[6] // _SECOND
    return seconds if epoch is None or seconds <= epoch else epoch


def _put_file(
    entry: Entry,
    sink: TarSink,
    headers: HeaderWriter,
    directories: Directories,
    epoch: int | None,
    hashed: bool,
) -> bytes:
    """Put a file that is large, or has xattrs, or comes with its bytes; its digest, if it is `hashed` or known."""
    from blake3 import blake3

    path, size, data, known = entry.path, entry.size, entry.data, entry.digest
    hasher = blake3() if hashed or known is not None else None
    sink.put(headers.header(entry, _seconds(entry, epoch)))
    if data is not None:
        if len(data) != size:
            raise ValueError(f"{path} has {len(data)} bytes of data but says {size}")
        sink.put(data)
        if hasher is not None:
            hasher.update(data)
    else:
        parent, _, name = entry.source.rpartition("/")
        try:
            fd = os.open(name, _OPEN, dir_fd=directories.at(parent[1:]))
        except OSError as problem:
            raise unreadable(entry, problem) from problem
        try:
            before = os.fstat(fd)
            # One byte more than it should have tells whether it grew.
            count = _copy(fd, size + 1, sink.put, hasher)
            # Looked at after reading: had it been written to meanwhile, its mtime would be another, or its ctime where
            # somebody set the mtime back.
            now = os.fstat(fd)
        except BrokenPipeError:  # of whoever takes the bytes: reading a file has no such end
            raise
        except OSError as problem:
            raise unreadable(entry, problem) from problem
        finally:
            os.close(fd)
        if (
            count != size
            or now.st_size != size
            or now.st_mtime_ns != entry.mtime
            or now.st_ctime_ns != before.st_ctime_ns
            or stat.S_IFMT(now.st_mode) != stat.S_IFREG
        ):
            raise changed(entry)
    sink.put(PADDING[size % BLOCK_SIZE])
    digest = hasher.digest() if hasher is not None else b""
    if known is not None and digest != known:
        raise changed(entry)
    return digest


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
