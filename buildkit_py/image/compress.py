"""Compression of layers: zstd, gzip or none, the same bytes on every machine.

zstd is always streamed with one worker thread or more: then the output
depends neither on how many there are nor on how the input was cut
(libzstd cuts it into jobs by itself), while one-shot use or no worker gives
other bytes. Less than a block of zstd's is compressed to the same bytes by
either, and to start workers for it would take ten times as long. The default
level is 1: layers are packed while the build waits, and level 3 saves some 5 %
of the bytes for half as much time again.
gzip has no time in its header. This is the one file that knows zstandard.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock

from buildkit_py.errors import SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    class Compressor(Protocol):
        def compress(self, data: bytes, /) -> bytes: ...
        def flush(self) -> bytes: ...


MEDIA_TYPES = {
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "none": "application/vnd.oci.image.layer.v1.tar",
}
ZSTD_LEVEL = 1
_BLOCK = 1 << 17  # RFC 8878 3.1.1.2.4, Block_Maximum_Size
GZIP_LEVEL = 6

# A frame may ask the reader for a window; the format allows 2 GiB and more.
_MAX_WINDOW = 1 << 27
_SMALLEST_WINDOW = 10  # its binary logarithm
# Lower levels know no more of a long base than its end: of one of 7 MB, the patch would have 2 MB in place of 2 kB.
_PATCH_LEVEL = 9
_PIECE = 1 << 20
_MAGIC = 6  # bytes of the longest magic number
# The first piece is a tar's first header. zlib gives nothing of a piece in whose end it finds a wrong check sum.
_FIRST = 512
_loading = allocate_lock()


def _zstandard() -> Any:
    """zstandard's C half, without the package around it, whose imports take 5 ms: a build packs its layers in less."""
    name = "zstandard.backend_c"
    with _loading:  # nobody gets a module that another thread is still filling
        return sys.modules[name] if name in sys.modules else _load(name)


def _load(name: str) -> Any:
    # What `importlib.util` is made of; that itself would cost what is saved here.
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import PathFinder

    package = PathFinder.find_spec("zstandard")
    spec = PathFinder.find_spec(name, package.submodule_search_locations) if package is not None else None
    if spec is None or spec.loader is None:
        import zstandard  # it has another half for other interpreters, or says what is missing

        return zstandard
    # Under its own name: who imports the package later gets this very module.
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def zstd_patch(data: bytes, base: bytes) -> bytes:
    """A frame of zstd that says what `data` is to whoever has `base`: what both have in common is not in it."""
    zstandard = _zstandard()
    shared = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    window = min(max((len(data) + len(base)).bit_length(), _SMALLEST_WINDOW), _MAX_WINDOW.bit_length() - 1)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _PATCH_LEVEL, source_size=len(data), dict_size=len(base), window_log=window
    )
    made: bytes = zstandard.ZstdCompressor(compression_params=parameters, dict_data=shared).compress(data)
    return made


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def compressor(kind: str, level: int = 0, *, size: int = -1) -> Compressor:
    """A stream compressor: "zstd", "gzip" or "none"; level 0 is the default one of the kind.

    `size` is how many bytes it will be given in all, -1 where that is not known. Raises `ValueError` for another kind.
    """
    if kind == "zstd":
        level = level or ZSTD_LEVEL
        workers = 0 if 0 <= size < _BLOCK else _workers(level)
        made: Compressor = _zstandard().ZstdCompressor(level=level, threads=workers).compressobj()
        return made
    if kind == "gzip":
        import zlib

        return zlib.compressobj(level or GZIP_LEVEL, zlib.DEFLATED, 31)
    if kind == "none":
        return _Plain()
    raise ValueError(f"no such compression: {kind!r}")


def _workers(level: int) -> int:
    """How many threads compress with zstd.

    At a fast level compressing takes no longer than the digests that are taken
    beside it: a worker for the last processor would only take it from them.
    """
    processors = len(os.sched_getaffinity(0))
    return max(1, min(4, processors - 1 if level <= ZSTD_LEVEL else processors))


def kind_of(media_type: str, head: bytes = b"") -> str:
    """How a blob is compressed: as its first six bytes say; a shorter one, as its media type does.

    docker calls every layer that it pushes one of gzip, also where it found the
    same layer there in zstd or plain, and every engine goes by the bytes.
    """
    if len(head) >= 6:
        return kind_of_bytes(head)
    base = media_type.partition(";")[0]
    if base.endswith(("+zstd", ".zstd")):
        return "zstd"
    if base.endswith(("+gzip", ".gzip")):
        return "gzip"
    if base.endswith((".tar", "+tar")):
        return "none"
    return kind_of_bytes(head)


def kind_of_bytes(head: bytes) -> str:
    """The compression that a file's first six bytes name: zstd, gzip, bzip2, xz, else none."""
    # Magic numbers: RFC 8878 3.1.1 (and skippable frames, 3.1.2), RFC 1952, bzip2, xz 2.1.1.1.
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return "zstd"
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:3] == b"BZh":
        return "bzip2"
    if head[:6] == b"\xfd7zXZ\0":
        return "xz"
    return "none"


class Counted:
    """A `read` that counts what it gave, and can be looked into before."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._head = b""
        self.count = 0

    def peek(self, size: int) -> bytes:
        """At least `size` next bytes (fewer only at the end), which `read` will give again."""
        while len(self._head) < size:
            piece = self._read(_PIECE)
            if not piece:
                break
            self._head += piece
        return self._head

    def read(self, size: int) -> bytes:
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
        else:
            piece = self._read(size)
        self.count += len(piece)
        return piece


class TrailingGarbage(SourceError):
    """Behind the last member of gzip, bzip2 or xz there is something else, which is no padding either."""


def decompress(read: Callable[[int], bytes], kind: str, base: bytes = b"") -> Iterator[bytes]:
    """The plain bytes in pieces of at most 1 MiB, so that no bomb fills memory; `base` is that of a `zstd_patch`.

    Raises `SourceError` for damaged or truncated data, of it `TrailingGarbage` where all members are whole.
    """
    if kind == "none":
        while piece := read(_PIECE):
            yield piece
        return
    if kind == "zstd":
        yield from _unzstd(read, base)
        return
    yield from _inflate(read, kind)


class _Source:
    """A `read` function as the file object that zstandard wants."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def read(self, size: int = -1) -> bytes:
        return self._read(size if size > 0 else _PIECE)


def _unzstd(read: Callable[[int], bytes], base: bytes) -> Iterator[bytes]:
    zstandard = _zstandard()
    source: Any = _Source(read)
    shared = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if base else None
    # The reader and not `decompressobj`: the latter unpacks a whole input piece at once, and 64 KiB may be
    # 2 GiB. It ends quietly on a truncated frame; the tar inside has no end then, which its reader reports.
    plain = zstandard.ZstdDecompressor(dict_data=shared, max_window_size=_MAX_WINDOW).stream_reader(
        source, read_size=1 << 18, read_across_frames=True
    )
    try:
        while piece := plain.read(_PIECE):
            yield piece
    except zstandard.ZstdError as problem:
        raise SourceError(f"damaged zstd data ({problem})") from problem


def _inflate(read: Callable[[int], bytes], kind: str) -> Iterator[bytes]:
    """gzip, bzip2 and xz, whose decompressors share an interface but for where the rest of the input stays."""
    pending = b""
    most = _FIRST
    while True:
        stream, errors = _decompressor(kind)
        fed = False
        while not stream.eof:
            ended = False
            if not pending and (kind == "gzip" or stream.needs_input):
                pending = read(1 << 18)
                ended = not pending
                if ended and not fed:
                    return
            fed = True
            try:
                piece = stream.decompress(pending, most)
            except errors as problem:
                raise SourceError(f"damaged {kind} data ({problem})") from problem
            pending = stream.unconsumed_tail if kind == "gzip" else b""
            if piece:
                yield piece
                most = _PIECE
            elif ended and not stream.eof:
                raise SourceError(f"truncated {kind} data")
        # What follows a member is the next one; zeros after the last one are padding (as gzip(1) takes them).
        pending = stream.unused_data
        while not pending.strip(b"\0"):
            pending = read(1 << 18)
            if not pending:
                return
        pending = pending.lstrip(b"\0")
        while len(pending) < _MAGIC and (more := read(1 << 18)):
            pending += more
        if kind_of_bytes(pending) != kind:
            raise TrailingGarbage(f"damaged {kind} data (something else follows its end)")


def _decompressor(kind: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """A decompressor of one member, and what it raises for damaged data."""
    if kind == "gzip":
        import zlib

        return zlib.decompressobj(31), (zlib.error,)
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor(), (OSError, ValueError)
    if kind == "xz":
        import lzma

        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=256 << 20), (lzma.LZMAError,)
    raise ValueError(f"no such compression: {kind!r}")
