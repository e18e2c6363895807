"""Writing a copy as files below a directory's descriptor, and never outside of it, whoever else writes there.

Nothing that is there is opened for writing: each file appears under a name of
its own that did not exist (O_EXCL), is finished through its descriptor, and
then takes the place of what had the name. Directories are reached without
following a link. The one exception is a file that is a mount of its own, as
/etc/hosts: it is written to, as whatever runs in the container would.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from buildkit_py.errors import SourceError, UsageError
from buildkit_py.exporter.sink import failure
from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.runner.copying.tree_source import open_file
from buildkit_py.sandbox import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Owner = tuple[int, int] | None

_BENEATH = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_PLACE = os.O_PATH | os.O_DIRECTORY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LEAF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_SET_ID = stat.S_ISUID | stat.S_ISGID
_PIECE = 1 << 20
_NOT_GIVEN = (errno.EPERM, errno.EINVAL)
_UNSUPPORTED = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ENOSPC)


class TreeTarget:
    """The directory `top`, which is called `where` to people. `owner` says whom an entry is to belong to.

    `host`: it is this machine's, where nothing gets rights that it has in a container: no set-id bits and no
    capabilities. `left_out` are the paths of devices, which are never made; `owners_lost` counts files that could not
    be given away. Methods raise `ExportError`, and `UsageError` where the one thing would have to replace another.
    """

    def __init__(self, top: int, where: str, *, owner: Callable[[Entry], Owner], host: bool) -> None:
        self._top = top
        self._where = where
        self._owner = owner
        self._host = host
        self._late: list[Entry] = []
        self._parent = ""
        self._at = top
        self.made: Callable[[os.stat_result], object] = _nothing
        self.left_out: list[str] = []
        self.owners_lost = 0

    def put(self, entry: Entry, content: int | Iterable[bytes | memoryview]) -> None:
        """Make one entry. `content` is a file's O_PATH descriptor, or its bytes in pieces. Parents come first."""
        try:
            self._put(entry, content)
        except OSError as problem:
            raise failure(problem, self._named(entry.path)) from problem

    def finish(self) -> None:
        """Give the directories that were made their attributes, deepest first: what is put in changes their time."""
        try:
            for entry in reversed(self._late):
                try:
                    fd = syscalls.openat2(self._top, os.fsencode(entry.path) or b".", _DIRECTORY, _BENEATH)
                except OSError:
                    continue  # whoever else writes here has put something else in its place
                try:
                    self._attributes(entry, fd)
                finally:
                    os.close(fd)
        except OSError as problem:
            raise failure(problem, self._where) from problem

    def close(self) -> None:
        """Close what is open, but for `top`."""
        if self._at != self._top:
            os.close(self._at)
        self._at, self._parent = self._top, ""

    def _named(self, path: str) -> str:
        return f"{self._where.rstrip('/')}/{path}" if path else self._where

    def _put(self, entry: Entry, content: int | Iterable[bytes | memoryview]) -> None:
        parent, _, name = entry.path.rpartition("/")
        if not name:
            return  # the directory itself stays as it is
        at = self._enter(parent)
        if entry.kind == DIR:
            self._directory(entry, at, name)
            return
        if entry.kind in (CHAR, BLOCK):
            self.left_out.append(entry.path)
            return
        there = self._there(at, name, entry)
        if there >= 0:
            try:
                if _is_mount(there, at):  # the kernel would let us take it away from under the container
                    self._write_in_place(entry, there, content)
                    return
            finally:
                os.close(there)
        temporary = f".pybuild-{os.urandom(8).hex()}"
        try:
            self._make(entry, content, at, temporary)
            os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
            if entry.kind == HARDLINK:
                _unlink(temporary, at)  # of two names of one file rename(2) takes none away
        except IsADirectoryError:
            _unlink(temporary, at)
            raise self._refusal(entry) from None
        except BaseException:
            _unlink(temporary, at)
            raise

    def _enter(self, parent: str) -> int:
        """The directory that entries with this parent go to."""
        if parent != self._parent:
            self.close()
            if not parent:
                return self._at
            try:
                fd = syscalls.openat2(self._top, os.fsencode(parent), _PLACE, _BENEATH)
            except FileNotFoundError:
                fd = self._make_directories(parent)
            except OSError as problem:
                if problem.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                raise UsageError(
                    f"`{self._named(parent)}` is no directory, but a link or a file",
                    hint="name the directory that it leads to as the destination",
                ) from problem
            self.close()
            self._at, self._parent = fd, parent
        return self._at

    def _make_directories(self, path: str) -> int:
        """Make those that an archive leaves out, as unpacking does; the last one's descriptor, for the caller."""
        names = path.split("/")
        at = os.dup(self._top)
        for depth, name in enumerate(names, 1):
            try:
                self._directory(Entry("/".join(names[:depth]), DIR, 0o755, mtime=time.time_ns()), at, name)
                below = os.open(name, _PLACE | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            finally:
                os.close(at)
            at = below
        return at

    def _directory(self, entry: Entry, at: int, name: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=at)
        except FileExistsError:
            try:
                fd = os.open(name, _PLACE | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            except OSError:
                raise UsageError(f"`{self._named(entry.path)}` is there and no directory") from None
        else:
            self._late.append(entry)
            fd = os.open(name, _PLACE | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
        self.made(os.fstat(fd))
        os.close(fd)

    def _there(self, at: int, name: str, entry: Entry) -> int:
        """What has the name now, as an O_PATH descriptor; -1 for nothing."""
        try:
            fd = os.open(name, _LEAF, dir_fd=at)
        except FileNotFoundError:
            return -1
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise self._refusal(entry)
        return fd

    def _refusal(self, entry: Entry) -> UsageError:
        return UsageError(f"`{self._named(entry.path)}` is a directory, over which no file can be copied")

    def _write_in_place(self, entry: Entry, there: int, content: int | Iterable[bytes | memoryview]) -> None:
        if entry.kind != FILE or not stat.S_ISREG(os.fstat(there).st_mode):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        fd = os.open(f"/proc/self/fd/{there}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            _write(fd, entry, content)
        finally:
            os.close(fd)

    def _make(self, entry: Entry, content: int | Iterable[bytes | memoryview], at: int, name: str) -> None:
        if entry.kind == FILE:
            fd = os.open(name, _NEW, 0o600, dir_fd=at)
            try:
                _write(fd, entry, content)
                self._attributes(entry, fd)
            finally:
                os.close(fd)
            return
        if entry.kind == HARDLINK:
            self._link(entry, at, name)
            return
        if entry.kind == SYMLINK:
            os.symlink(entry.target, name, dir_fd=at)
        elif entry.kind == FIFO:
            before = os.umask(0)
            try:
                os.mkfifo(name, entry.mode & 0o777, dir_fd=at)
            finally:
                os.umask(before)
        else:
            raise ValueError(f"no such kind of entry: {entry.kind!r}")
        self._give(entry, lambda uid, gid: os.chown(name, uid, gid, dir_fd=at, follow_symlinks=False))
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=at, follow_symlinks=False)

    def _link(self, entry: Entry, at: int, name: str) -> None:
        above, _, last = entry.target.rpartition("/")
        try:
            directory = syscalls.openat2(self._top, os.fsencode(above) or b".", _PLACE, _BENEATH)
        except OSError as problem:
            raise SourceError(f"{entry.path} is a hard link to {entry.target}, which is not there") from problem
        try:
            os.link(last, name, src_dir_fd=directory, dst_dir_fd=at, follow_symlinks=False)
        except FileNotFoundError as problem:
            raise SourceError(f"{entry.path} is a hard link to {entry.target}, which is not there") from problem
        finally:
            os.close(directory)

    def _attributes(self, entry: Entry, fd: int) -> None:
        self._give(entry, lambda uid, gid: os.fchown(fd, uid, gid))
        # After the owner, whose change drops set-id bits and capabilities.
        os.fchmod(fd, entry.mode & ~_SET_ID if self._host else entry.mode)
        for name, value in () if self._host else entry.xattrs:
            try:
                os.setxattr(fd, name, value)
            except OSError as problem:
                if problem.errno not in _UNSUPPORTED:
                    raise
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def _give(self, entry: Entry, change: Callable[[int, int], None]) -> None:
        owner = self._owner(entry)
        if owner is None:
            return
        try:
            change(*owner)
        except OSError as problem:
            if problem.errno not in _NOT_GIVEN:
                raise
            self.owners_lost += 1


def _nothing(status: os.stat_result) -> None:
    """For who need not hear of directories."""


def _is_mount(fd: int, parent: int) -> bool:
    """Whether what is in a directory is the root of another mount than that."""
    return _mount_id(fd) != _mount_id(parent)


def _mount_id(fd: int) -> bytes:
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        return next(line for line in file if line.startswith(b"mnt_id:"))


def _unlink(name: str, at: int) -> None:
    try:
        os.unlink(name, dir_fd=at)
    except OSError:
        pass  # it was not made, or somebody else removed it


def _write(fd: int, entry: Entry, content: int | Iterable[bytes | memoryview]) -> None:
    if isinstance(content, int):
        source = open_file(content, entry.path)
        try:
            _copy(source, fd)
        finally:
            os.close(source)
        return
    for piece in content:
        view = memoryview(piece)
        while view:
            view = view[os.write(fd, view) :]


def _copy(source: int, fd: int) -> None:
    """Copy what a file has now, holes as holes. One that grows meanwhile is not followed."""
    size = os.fstat(source).st_size
    at = 0
    while at < size:
        try:
            begin = os.lseek(source, at, os.SEEK_DATA)
            end = min(os.lseek(source, begin, os.SEEK_HOLE), size)
        except OSError as problem:
            if problem.errno != errno.ENXIO:
                raise
            break  # nothing but a hole is left
        while begin < end:
            piece = os.pread(source, min(_PIECE, end - begin), begin)
            if not piece:
                return  # it was cut off
            begin += os.pwrite(fd, piece, begin)
        at = end
    os.ftruncate(fd, size)
