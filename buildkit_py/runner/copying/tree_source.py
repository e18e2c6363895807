"""The tree that is copied, as entries with open descriptors: whatever changes below them, they stay what they were.

Every name is opened without following it, and looked at through its own
descriptor. Bytes are read of regular files alone: opening a device or a pipe
might do something. What shows the kernel's own state (/proc, /sys) is an empty
directory here.
"""

from __future__ import annotations

import os
import stat

from buildkit_py.errors import ContextError, UsageError
from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.image.overlay_diff import CAPABILITY
from buildkit_py.image.overlay_marks import OVERLAY_XATTRS
from buildkit_py.sandbox import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_BENEATH = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK,
}
# Of include/uapi/linux/magic.h: sysfs, cgroup, devpts, mqueue, securityfs, debugfs, tracefs, bpf, and the two that have
# names.
_OF_THE_KERNEL = frozenset(
    (
        *(syscalls.PROC_MAGIC, syscalls.CGROUP2_MAGIC, 0x62656572, 0x27E0EB, 0x1CD1, 0x19800202),
        *(0x73636673, 0x64626720, 0x74726163, 0xCAFE4A11),
    )
)
# What is not there any more, or is something else than it was when its name was read.
_GONE = (FileNotFoundError, NotADirectoryError)
_ELOOP = 40


class TreeSource:
    """The tree below the O_PATH descriptor `top`, whose entries have paths that begin with `prefix`.

    `left_out` are the paths of sockets, which no copy can hold. `avoid` may be given the (device, inode) of directories
    that are being written to: to come across one there means to copy without end.
    """

    def __init__(self, top: int, prefix: str) -> None:
        self._top = top
        self._prefix = prefix
        self._links: dict[tuple[int, int], str] = {}
        self._kernels: dict[int, bool] = {}
        self.avoid: set[tuple[int, int]] = set()
        self.left_out: list[str] = []

    def entries(self) -> Iterator[tuple[Entry, int]]:
        """Each with its O_PATH descriptor, which is good until the next one; parents come before what is in them.

        Raises `UsageError` for a copy into itself, `OSError` for what cannot be read.
        """
        first = self._entry(self._top, self._prefix)
        if first is None:
            return
        yield first, self._top
        pending = [""] if first.kind == DIR and not self._of_the_kernel(self._top) else []
        while pending:
            inside = pending.pop()
            for name, child in self._children(inside):
                try:
                    path = f"{inside}/{name}" if inside else name
                    entry = self._entry(child, f"{self._prefix}/{path}" if self._prefix else path)
                    if entry is None:
                        continue
                    yield entry, child
                    if entry.kind == DIR and not self._of_the_kernel(child):
                        status = os.fstat(child)
                        if (status.st_dev, status.st_ino) in self.avoid:
                            raise UsageError("a directory cannot be copied into itself")
                        pending.append(path)
                finally:
                    os.close(child)

    def _children(self, inside: str) -> Iterator[tuple[str, int]]:
        try:
            fd = syscalls.openat2(self._top, os.fsencode(inside) or b".", _DIRECTORY, _BENEATH)
        except OSError as problem:
            if isinstance(problem, _GONE) or problem.errno == _ELOOP:
                return
            raise
        try:
            for name in sorted(os.listdir(fd), key=os.fsencode):
                try:
                    child = os.open(name, _LEAF, dir_fd=fd)
                except FileNotFoundError:
                    continue
                yield name, child
        finally:
            os.close(fd)

    def _of_the_kernel(self, fd: int) -> bool:
        device = os.fstat(fd).st_dev
        known = self._kernels.get(device)
        if known is None:
            known = self._kernels[device] = syscalls.filesystem_magic(fd) in _OF_THE_KERNEL
        return known

    def _entry(self, fd: int, path: str) -> Entry | None:
        status = os.fstat(fd)
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None or (kind != DIR and self._of_the_kernel(fd)):
            self.left_out.append(path)
            return None
        common = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        size, target = 0, ""
        if kind == FILE:
            if status.st_nlink > 1:
                first = self._links.setdefault((status.st_dev, status.st_ino), path)
                if first is not path:
                    return Entry(path, HARDLINK, *common, 0, status.st_mtime_ns, first)
            size = status.st_size
        elif kind == SYMLINK:
            target = os.readlink("", dir_fd=fd)
        rdev = status.st_rdev if kind in (CHAR, BLOCK) else 0
        xattrs = _xattrs(fd) if kind in (FILE, DIR) else ()
        return Entry(path, kind, *common, size, status.st_mtime_ns, target, rdev, xattrs)


def open_file(fd: int, path: str) -> int:
    """A regular file's O_PATH descriptor as one that can be read. Raises `ContextError`."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        raise ContextError(f"`{path}` cannot be read: {(problem.strerror or str(problem)).lower()}") from problem


def _xattrs(fd: int) -> tuple[tuple[str, bytes], ...]:
    """Those that a layer keeps, too (`image.overlay_diff`)."""
    path = f"/proc/self/fd/{fd}"
    try:
        names = os.listxattr(path)
    except OSError:
        return ()
    found = []
    for name in sorted(names):
        if name == CAPABILITY or (name.startswith("user.") and not name.startswith(OVERLAY_XATTRS)):
            try:
                found.append((name, os.getxattr(path, name)))
            except OSError:
                continue  # it was just removed
    return tuple(found)
