"""A copy as a tar on standard input or output, by the reader and the headers that layers have."""

from __future__ import annotations

import os

from buildkit_py.errors import ContextError, SourceError
from buildkit_py.image.compress import Counted, decompress, kind_of
from buildkit_py.image.entry import FILE, Entry
from buildkit_py.image.limits import DEFAULT
from buildkit_py.image.member import clean_path, entry_of
from buildkit_py.image.tar_header import BLOCK_SIZE, END, PADDING, HeaderWriter
from buildkit_py.image.tar_reader import TarReader
from buildkit_py.image.unpack import limited
from buildkit_py.runner.copying.tree_source import open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from buildkit_py.exporter.sink import Sink

_PIECE = 1 << 20
_SECOND = 10**9


def read_tar(read: Callable[[int], bytes]) -> Iterator[tuple[Entry, Iterable[bytes | memoryview]]]:
    """The entries of a tar, plain or compressed, with their bytes. Raises `SourceError` for a bad one."""
    source = Counted(read)
    plain = limited(decompress(source.read, kind_of("", source.peek(6))), source, DEFAULT)
    tar = TarReader(plain)
    for member in tar:
        path = clean_path(member.name, clamp=False)
        yield entry_of(member, path, clamp=False), tar.rest()
    if not tar.ended:
        raise SourceError("the archive is truncated: it has no end mark")
    tar.drain()


class TarTarget:
    """Takes entries as `TreeTarget` does, and writes them to a sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._headers = HeaderWriter()

    def put(self, entry: Entry, content: int) -> None:
        """Write one entry. Raises `ContextError` for a file that became shorter meanwhile."""
        self._sink.write(self._headers.header(entry, entry.mtime // _SECOND))
        if entry.kind == FILE:
            self._bytes(entry, content)

    def finish(self) -> None:
        """Write the end mark."""
        self._sink.write(END)

    def _bytes(self, entry: Entry, content: int) -> None:
        fd = open_file(content, entry.path)
        try:
            left = entry.size
            while left:
                piece = os.read(fd, min(_PIECE, left))
                if not piece:
                    raise ContextError(f"{entry.path} changed while it was being read", hint="copy it again")
                self._sink.write(piece)
                left -= len(piece)
        finally:
            os.close(fd)
        self._sink.write(PADDING[entry.size % BLOCK_SIZE])
