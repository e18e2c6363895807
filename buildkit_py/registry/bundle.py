"""A bundle: files by name, in a directory or in an uncompressed tar archive, found without unpacking.

OCI layouts and docker archives come as either. Names in them are data of
others: no symbolic link is followed out of the bundle, and only regular files
are read (isolation.md R12).
"""

from __future__ import annotations

import os
import posixpath
import stat

from buildkit_py.errors import ImageNotFound, SourceError
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Bundle(Protocol):
        path: str

        def locate(self, name: str) -> Piece | None:
            """Where a file of the bundle is, None where there is none of that name."""


MAX_MEMBERS = 100_000


class Piece(Record):
    """`size` bytes from `offset` on of the file at `path`."""

    path: str
    offset: int
    size: int


class DirectoryBundle:
    """The files below a directory."""

    def __init__(self, path: str) -> None:
        self.path = path

    def locate(self, name: str) -> Piece | None:
        parts = name.split("/")
        if not all(part and part not in (".", "..") for part in parts):
            raise SourceError(f"`{name[:200]}` is no name of a file in a bundle", at=self.path)
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for part in parts[:-1]:
                    below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                    os.close(fd)
                    fd = below
                found = os.stat(parts[-1], dir_fd=fd, follow_symlinks=False)
            finally:
                os.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            raise SourceError(f"`{name}` cannot be read: {problem.strerror}", at=self.path) from problem
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"`{name}` is not a regular file", at=self.path)
        return Piece(os.path.join(self.path, name), 0, found.st_size)


class TarBundle:
    """The regular members of a tar archive; links lead to other members only."""

    def __init__(self, path: str) -> None:
        import tarfile

        self.path = path
        self._pieces: dict[str, Piece] = {}
        links: dict[str, str] = {}
        try:
            with tarfile.open(path, "r:", errorlevel=2) as archive:
                for count, member in enumerate(archive):
                    if count >= MAX_MEMBERS:
                        raise SourceError(f"the archive has more than {MAX_MEMBERS} members", at=path)
                    name = posixpath.normpath(member.name)
                    if member.isreg() and not member.issparse():
                        self._pieces[name] = Piece(path, member.offset_data, member.size)
                    elif member.issym():
                        links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
                    elif member.islnk():
                        links[name] = posixpath.normpath(member.linkname)
        except OSError as problem:
            raise SourceError(f"the archive cannot be read: {problem.strerror or problem}", at=path) from problem
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as problem:
            raise SourceError(
                "it is not an uncompressed tar archive", at=path, hint="decompress it first (gunzip, unzstd)"
            ) from problem
        for name, target in links.items():
            if target in self._pieces and name not in self._pieces:
                self._pieces[name] = self._pieces[target]

    def locate(self, name: str) -> Piece | None:
        return self._pieces.get(posixpath.normpath(name))


def open_bundle(path: str) -> Bundle:
    """The bundle at a path. Raises `ImageNotFound` where nothing is there, `SourceError` where it is no bundle."""
    path = os.path.abspath(path)  # where a layer is gets remembered beyond this process and its directory
    try:
        mode = os.stat(path).st_mode
    except OSError as problem:
        raise ImageNotFound(f"it cannot be opened: {problem.strerror}", at=path) from problem
    if stat.S_ISDIR(mode):
        return DirectoryBundle(path)
    if stat.S_ISREG(mode):
        return TarBundle(path)
    raise SourceError("it is neither a directory nor a file", at=path)


class PieceReader:
    """The bytes of a piece, from some byte of it on. Raises `SourceError` where the file is no longer that long."""

    def __init__(self, piece: Piece, start: int = 0) -> None:
        self._piece = piece
        self._at = piece.offset + start
        self._end = piece.offset + piece.size
        try:
            self._fd = os.open(piece.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        except OSError as problem:
            raise SourceError(f"the file cannot be read: {problem.strerror}", at=piece.path) from problem
        if not regular:
            self.close()
            raise SourceError("it is not a regular file", at=piece.path)

    def read(self, size: int = 1 << 20) -> bytes:
        """The next bytes, b"" at the end."""
        wanted = min(size, self._end - self._at)
        if wanted <= 0:
            return b""
        try:
            data = os.pread(self._fd, wanted, self._at)
        except OSError as problem:
            raise SourceError(f"the file cannot be read: {problem.strerror}", at=self._piece.path) from problem
        if not data:
            raise SourceError("the file ends early", at=self._piece.path)
        self._at += len(data)
        return data

    def interrupt(self) -> None:
        """Nothing to do: a read of a local file does not wait for anyone."""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_file(bundle: Bundle, name: str, limit: int) -> bytes:
    """A whole small file of a bundle. Raises `ImageNotFound` where it is missing, `SourceError` where too large."""
    piece = bundle.locate(name)
    if piece is None:
        raise ImageNotFound(f"it has no `{name}`", at=bundle.path)
    if piece.size > limit:
        raise SourceError(f"`{name}` is larger than {limit >> 20} MiB", at=bundle.path)
    reader = PieceReader(piece)
    try:
        pieces = []
        while data := reader.read():
            pieces.append(data)
        return b"".join(pieces)
    finally:
        reader.close()
