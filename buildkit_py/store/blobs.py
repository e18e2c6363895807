"""Blobs: files named by the sha256 of their bytes, as OCI names them.

A name appears only once all bytes are there, and is checked again whenever
the bytes leave the store: what does not hash to its name is moved to the
quarantine and reported, never handed on.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from buildkit_py.digest import is_hex, is_sha256, sha256
from buildkit_py.errors import DigestMismatch, StoreCorrupt, StoreError
from buildkit_py.store.faults import store_error
from buildkit_py.store.work import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from buildkit_py.store.leases import Leases
    from buildkit_py.store.work import Work

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Blobs:
    """`blobs/sha256/` of a store. All methods raise `ValueError` for a digest that is none, and `StoreError`."""

    def __init__(self, work: Work, leases: Leases) -> None:
        self.dir = work.root + "/blobs/sha256"
        self._work = work
        self._leases = leases
        self._made: dict[str, tuple[int, int]] = {}  # what this process wrote: the file's inode and bytes, by digest

    def path(self, digest: str) -> str:
        """Where a blob is or would be."""
        if not is_sha256(digest):
            raise ValueError(f"not a sha256 digest: {digest!r}")
        return f"{self.dir}/{digest[7:]}"

    def has(self, digest: str) -> bool:
        """Whether a regular file of that name is there; its bytes are not looked at."""
        return self._status(digest) is not None

    def size(self, digest: str) -> int:
        """Bytes of a blob. Raises `StoreError` if it is absent."""
        status = self._status(digest)
        if status is None:
            raise _absent(digest, self._work.root)
        return status.st_size

    def put(self, data: bytes) -> str:
        """Store some bytes; their digest."""
        with BlobWriter(self, self._work, hashed=False, expected=len(data)) as writer:
            writer.write(data)
            return writer.commit()[0]

    def writer(self, *, hashed: bool = False) -> BlobWriter:
        """A new blob, to be written piece by piece. `hashed`: by the caller, who gives its digest to `commit`."""
        return BlobWriter(self, self._work, hashed)

    def adopt(self, path: str, digest: str) -> None:
        """Take over a finished file on this filesystem, whose digest the caller took while writing it."""
        dest = self.path(digest)
        try:
            os.chmod(path, 0o600)
            os.utime(path)
            # Over an older one, too: if that was damaged, this is its cure.
            self._work.install(path, dest)
        except OSError as problem:
            raise store_error(problem, self._work.root, "store a blob") from problem

    def read(self, digest: str) -> bytes:
        """All bytes of a blob, verified. Raises `StoreCorrupt` if they are wrong, `StoreError` if there are none."""
        with self.open(digest) as reader:
            pieces = []
            while piece := reader.read(1 << 20):
                pieces.append(piece)
            return b"".join(pieces)

    def open(self, digest: str) -> VerifiedReader:
        """A blob for reading. Raises `StoreError` if it is absent, `StoreCorrupt` if it is no readable file."""
        path = self.path(digest)
        self._leases.renew(path)
        try:
            fd = os.open(path, _READ)
        except FileNotFoundError:
            raise _absent(digest, self._work.root) from None
        except OSError as problem:
            if os.path.lexists(path) and not _is_file(path):
                raise self.corrupt(digest, "it is no regular file") from problem
            if isinstance(problem, PermissionError):
                raise self.corrupt(digest, "its mode forbids reading") from problem
            raise store_error(problem, self._work.root, "read a blob") from problem
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise self.corrupt(digest, "it is no regular file")
        return VerifiedReader(self, digest, fd)

    def made(self, digest: str, fd: int) -> bool:
        """Whether the open file is the very one that this process wrote under that digest, and knows to be whole."""
        status = os.fstat(fd)
        return self._made.get(digest) == (status.st_ino, status.st_size)

    def note_made(self, digest: str, fd: int) -> None:
        """This process wrote all of the open file and took its digest meanwhile."""
        status = os.fstat(fd)
        self._made[digest] = (status.st_ino, status.st_size)

    def delete(self, digest: str) -> bool:
        """Remove a blob; False if there was none."""
        return self._work.remove(self.path(digest))

    def all(self) -> Iterator[tuple[str, int]]:
        """Every (digest, size), in no order; names that are no digests are passed over."""
        try:
            with os.scandir(self.dir) as entries:
                for entry in entries:
                    if is_hex(entry.name) and entry.is_file(follow_symlinks=False):
                        try:
                            yield "sha256:" + entry.name, entry.stat(follow_symlinks=False).st_size
                        except FileNotFoundError:
                            continue  # pruned meanwhile
        except FileNotFoundError:
            return
        except OSError as problem:
            raise store_error(problem, self._work.root, "list the blobs") from problem

    def corrupt(self, digest: str, why: str) -> StoreCorrupt:
        """Move a damaged blob out of the way; the error to raise."""
        path = self.path(digest)
        self._work.quarantine(path)
        return StoreCorrupt(
            f"the blob {digest} is damaged: {why}",
            at=path,
            hint="it was set aside; build or pull again to make it anew",
        )

    def _status(self, digest: str) -> os.stat_result | None:
        path = self.path(digest)
        self._leases.renew(path)  # before looking: what is renewed is not pruned any more
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise store_error(problem, self._work.root, "look for a blob") from problem
        if not stat.S_ISREG(status.st_mode):
            return None
        return status


class BlobWriter:
    """Bytes on their way into the store; leaving the `with` block without `commit` drops them."""

    def __init__(self, blobs: Blobs, work: Work, hashed: bool, expected: int = sys.maxsize) -> None:
        self._blobs = blobs
        self._work = work
        self._hash = None if hashed else sha256(expected)
        self._size = 0
        self._fd, self._path = work.temporary()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.abort()

    def write(self, data: bytes | memoryview) -> int:
        """Append; how many bytes, as files say. Raises `DiskFull` or `StoreError`."""
        try:
            write_all(self._fd, data)
        except OSError as problem:
            self.abort()
            raise store_error(problem, self._work.root, "write a blob") from problem
        if self._hash is not None:
            self._hash.update(data)
        size = len(data) if isinstance(data, bytes) else data.nbytes
        self._size += size
        return size

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def commit(self, expected: str = "") -> tuple[str, int]:
        """Finish: (digest, size). Raises `DigestMismatch`, and drops the bytes, if they are not what was expected."""
        digest = "sha256:" + self._hash.hexdigest() if self._hash is not None else expected
        if expected and digest != expected:
            self.abort()
            raise DigestMismatch(
                f"the bytes received are not {expected}", notes=(f"they are {digest}, {self._size} bytes",)
            )
        fd, self._fd = self._fd, -1
        if fd < 0:
            raise ValueError("this blob was committed or dropped before")
        try:
            self._blobs.note_made(digest, fd)
            os.close(fd)  # some filesystems report a full quota only here
            self._blobs.adopt(self._path, digest)
        except OSError as problem:
            raise store_error(problem, self._work.root, "write a blob") from problem
        return digest, self._size

    def abort(self) -> None:
        """Drop the bytes; after a commit this does nothing."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        os.close(fd)
        try:
            os.unlink(self._path)
        except OSError:
            pass  # in the scratch it is no one's, and goes with it


class VerifiedReader:
    """A blob being read. The read that meets its end raises `StoreCorrupt` if the bytes were wrong."""

    def __init__(self, blobs: Blobs, digest: str, fd: int) -> None:
        self._blobs = blobs
        self._digest = digest
        self._hash = sha256(os.fstat(fd).st_size)
        self._fd = fd
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; b"" at the end, which only a whole and sound blob has."""
        if size < 0:
            pieces = []
            while piece := self.read(1 << 20):
                pieces.append(piece)
            return b"".join(pieces)
        try:
            data = os.read(self._fd, size)
        except OSError as problem:
            if problem.errno == errno.EIO:
                raise self._blobs.corrupt(self._digest, "the disk cannot read it") from problem
            raise store_error(problem, self._blobs.dir, "read a blob") from problem
        if data:
            self._hash.update(data)
        elif size:
            self._end()
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer with the next bytes; how many, 0 at the end."""
        view = memoryview(buffer)
        data = self.read(view.nbytes)
        view[: len(data)] = data
        return len(data)

    def is_sure(self) -> bool:
        """Whether it need not be checked: this process wrote this very file."""
        return self._blobs.made(self._digest, self._fd)

    def fileno(self) -> int:
        """The open file, for those who only hand it on; bytes read past this reader are not checked."""
        return self._fd

    def close(self) -> None:
        """Let go of the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _end(self) -> None:
        if not self._ended and "sha256:" + self._hash.hexdigest() != self._digest:
            raise self._blobs.corrupt(self._digest, "its bytes do not hash to its name")
        self._ended = True


def _absent(digest: str, root: str) -> StoreError:
    return StoreError(f"the store has no blob {digest}", at=root, hint="build or pull again to make it anew")


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
