"""Where the files of an image layout go: into one tar archive, or into a directory.

Both take the same calls, so what a layout consists of is said once, in
`oci.py` and `docker.py`. Blobs are verified as they leave the store.
"""

from __future__ import annotations

import os

from buildkit_py.exporter.sink import Sink, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from buildkit_py.store.store import Store

    class Layout(Protocol):
        def directory(self, name: str) -> None:
            """Make a directory; its parent was made before."""

        def file(self, name: str, data: bytes) -> None:
            """Write a small file."""

        def blob(self, name: str, digest: str) -> None:
            """Copy a blob of the store to a file."""


_PIECE = 1 << 20
_BLOCK = 512
_FILE, _DIRECTORY = b"0", b"5"


class ArchiveLayout:
    """A layout as members of a tar, without times and owners."""

    def __init__(self, sink: Sink, store: Store) -> None:
        self._sink = sink
        self._store = store

    def directory(self, name: str) -> None:
        self._header(name + "/", 0, 0o755, _DIRECTORY)

    def file(self, name: str, data: bytes) -> None:
        self._header(name, len(data), 0o644, _FILE)
        self._sink.write(data)
        self._pad(len(data))

    def blob(self, name: str, digest: str) -> None:
        with self._store.blobs.open(digest) as reader:
            size = os.fstat(reader.fileno()).st_size
            self._header(name, size, 0o644, _FILE)
            if reader.is_sure():
                self._sink.send_file(reader.fileno(), size)
            else:
                while piece := reader.read(_PIECE):
                    self._sink.write(piece)
        self._pad(size)

    def end(self) -> None:
        """Write the two empty blocks that end an archive."""
        self._sink.write(bytes(2 * _BLOCK))

    def _header(self, name: str, size: int, mode: int, kind: bytes) -> None:
        self._sink.write(header(name, size, mode, kind))

    def _pad(self, size: int) -> None:
        if rest := size % _BLOCK:
            self._sink.write(bytes(_BLOCK - rest))


def header(name: str, size: int, mode: int, kind: bytes) -> bytes:
    """The header of a member without time and owner, whose name is short, in GNU's form.

    That differs from ustar's in its magic, and where a blob is larger than 8 GiB, which ustar cannot say.
    Made here: Python's `tarfile` takes longer to load than most images to be written.
    """
    length = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    front = b"%b%07o\0%b%b%b" % (name.encode().ljust(100, b"\0"), mode, b"0000000\0" * 2, length, b"0" * 11 + b"\0")
    rest = (kind + bytes(100) + b"ustar  \0").ljust(_BLOCK - len(front) - 8, b"\0")
    return b"%b%06o\0 %b" % (front, sum(front) + sum(rest) + 8 * 32, rest)


class DirectoryLayout:
    """A layout as files below a directory. What it holds of an older layout is replaced file by file."""

    def __init__(self, dest: str, store: Store) -> None:
        self._dest = dest
        self._store = store
        self._make(dest)

    def directory(self, name: str) -> None:
        self._make(os.path.join(self._dest, name))

    def file(self, name: str, data: bytes) -> None:
        with Sink(os.path.join(self._dest, name)) as sink:
            sink.write(data)

    def blob(self, name: str, digest: str) -> None:
        path = os.path.join(self._dest, name)
        with Sink(path) as sink, self._store.blobs.open(digest) as reader:
            while piece := reader.read(_PIECE):
                sink.write(piece)

    def _make(self, path: str) -> None:
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as problem:
            raise failure(problem, path) from problem
