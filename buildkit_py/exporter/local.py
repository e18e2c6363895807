"""The `local` output: a result's filesystem copied into a directory.

What is in the directory already stays, unless a file of the result has its
name. Nothing is written outside: every directory is opened below the last
without following a link, and a link that stands where a directory belongs is
replaced. Each file appears whole, under its name at once.

Without root (the uid 0 of a user namespace is none), owners and device files
cannot be made as they should: everything then belongs to who runs the build,
and devices are left out and named in the answer.
"""

from __future__ import annotations

import errno
import os
import stat

from buildkit_py.errors import ExportError, StoreError
from buildkit_py.exporter.flatten import flatten
from buildkit_py.exporter.sink import failure
from buildkit_py.image.directories import Directories
from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.image.entry import Entry

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SOURCE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSUPPORTED = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL)
_SECOND = 10**9


class Copied(Record):
    """How many files (of any kind but directories) were written, their bytes, and what had to be left out."""

    files: int
    bytes: int
    left_out: tuple[str, ...]


def export_local(
    trees: Sequence[str], dest: str, *, privileged: bool, epoch: int | None = None, mapped: bool = False
) -> Copied:
    """Copy what the layers in these directories (lowest first) come to into `dest`, which is made where missing.

    `privileged`: owners are set, and devices made; else everything belongs to
    who runs the build. `epoch`: no later time is set. `mapped`: owners are those of this process's user namespace,
    for a tree that is used in one like it. Raises `ExportError` where the output cannot be written, `StoreError` for a
    damaged layer.
    """
    return copy_entries(flatten(trees), dest, privileged=privileged, epoch=epoch, mapped=mapped)


def copy_entries(
    entries: list[Entry], dest: str, *, privileged: bool, epoch: int | None = None, mapped: bool = False
) -> Copied:
    """Copy entries, parents first, into the directory `dest`, which is made where missing; as `export_local`."""
    try:
        os.makedirs(dest, exist_ok=True)
        if not os.path.isdir(dest):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with Directories(dest) as directories:
            return _Copy(directories, dest, privileged, epoch, mapped).run(entries)
    except FileExistsError as problem:
        raise ExportError(
            "the destination is a file", at=dest, hint="for an archive write -o type=tar,dest=FILE"
        ) from problem
    except OSError as problem:
        raise failure(problem, dest) from problem


class _Copy:
    """One copy. Attributes of directories are set last, for what is put into one changes its times."""

    def __init__(self, directories: Directories, dest: str, privileged: bool, epoch: int | None, mapped: bool) -> None:
        self._directories = directories
        self._dest = dest
        self._latest = None if epoch is None else epoch * _SECOND
        self._privileged = privileged
        self._owners = privileged or mapped
        self._files = 0
        self._bytes = 0
        self._left_out: list[str] = []

    def run(self, entries: list[Entry]) -> Copied:
        made = []
        for entry in entries:
            above, _, name = entry.path.rpartition("/")
            parent = self._directories.at(above)
            if entry.kind == DIR:
                self._directory(parent, name)
                made.append(entry)
            else:
                self._other(entry, parent, name)
        for entry in reversed(made):
            self._finish_directory(entry)
        return Copied(self._files, self._bytes, tuple(self._left_out))

    def _directory(self, parent: int, name: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._clear(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
            elif not self._privileged:
                # An earlier copy may have left it without the right to write for ourselves.
                fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                try:
                    os.chmod(f"/proc/self/fd/{fd}", 0o700)
                finally:
                    os.close(fd)

    def _other(self, entry: Entry, parent: int, name: str) -> None:
        temporary = f".pybuild-{os.urandom(8).hex()}"
        try:
            if not self._make(entry, parent, temporary):
                self._left_out.append(entry.path)
                return
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except IsADirectoryError as problem:
                raise ExportError(
                    f"`{entry.path}` is a directory there and none in the result", at=self._dest
                ) from problem
        except BaseException:
            self._clear(parent, temporary)
            raise
        self._files += 1

    def _make(self, entry: Entry, parent: int, name: str) -> bool:
        """Make what is no directory under a temporary name; False where that needs root."""
        if entry.kind == FILE:
            self._file(entry, parent, name)
            return True
        if entry.kind == HARDLINK:
            above, _, target = entry.target.rpartition("/")
            # Not `Directories.at`: that would close the directory which we are in.
            with Directories(self._dest) as other:
                os.link(target, name, src_dir_fd=other.at(above), dst_dir_fd=parent, follow_symlinks=False)
            return True
        if entry.kind == SYMLINK:
            os.symlink(entry.target, name, dir_fd=parent)
        elif entry.kind == FIFO:
            os.mkfifo(name, 0o600, dir_fd=parent)
        elif entry.kind in (CHAR, BLOCK):
            if not self._privileged:
                return False
            kind = stat.S_IFCHR if entry.kind == CHAR else stat.S_IFBLK
            os.mknod(name, kind | 0o600, entry.rdev, dir_fd=parent)
        if self._owners:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent)
        os.utime(name, ns=self._times(entry), dir_fd=parent, follow_symlinks=False)
        return True

    def _file(self, entry: Entry, parent: int, name: str) -> None:
        target = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            try:
                source = os.open(entry.source, _SOURCE)
            except OSError as problem:
                raise StoreError(f"a layer's file cannot be read: {problem.strerror}", at=entry.source) from problem
            try:
                _copy_bytes(source, target, entry.size)
            finally:
                os.close(source)
            self._bytes += entry.size
            self._attributes(entry, target)
        finally:
            os.close(target)

    def _finish_directory(self, entry: Entry) -> None:
        above, _, name = entry.path.rpartition("/")
        fd = os.open(name, _DIRECTORY, dir_fd=self._directories.at(above))
        try:
            self._attributes(entry, fd)
        finally:
            os.close(fd)

    def _attributes(self, entry: Entry, fd: int) -> None:
        if self._owners:
            os.fchown(fd, entry.uid, entry.gid)
        # After the owner, whose change drops set-id bits and capabilities.
        os.fchmod(fd, entry.mode)
        for name, value in entry.xattrs:
            try:
                os.setxattr(fd, name, value)
            except OSError as problem:
                # A filesystem or a user that cannot have them; the files are right all the same.
                if problem.errno not in _UNSUPPORTED:
                    raise
        os.utime(fd, ns=self._times(entry))

    def _times(self, entry: Entry) -> tuple[int, int]:
        mtime = entry.mtime if self._latest is None else min(entry.mtime, self._latest)
        return mtime, mtime

    def _clear(self, parent: int, name: str) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass


def _copy_bytes(source: int, target: int, size: int) -> None:
    """Copy a file's bytes in the kernel, sharing its blocks where the filesystem can."""
    left = size
    by_range = True
    while left > 0:
        try:
            count = os.copy_file_range(source, target, left) if by_range else os.sendfile(target, source, None, left)
        except OSError as problem:
            if not by_range or problem.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            by_range = False
            continue
        if count == 0:
            raise StoreError("a layer's file is shorter than it was")
        left -= count
