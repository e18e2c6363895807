"""Mount points inside a root filesystem: found without leaving it, made where missing, remembered for removal.

Symbolic links are followed as the root's own processes would follow them,
but never a magic link of /proc, which leads out of the root.
"""

from __future__ import annotations

import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import SetupFailure, stage

_INSIDE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_NO_LINKS = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
_MOST_LINKS = 40

# ("file" or "dir", path, mode, uid, gid), or "copied": a directory that overlay copied up to hold one of them
Stub = tuple[str, bytes, int, int, int]


def open_inside(root: int, path: bytes, flags: int = os.O_PATH) -> int:
    """Open `path` as if `root` were `/`. Raises `OSError`."""
    return syscalls.openat2(root, path.lstrip(b"/") or b".", flags, _INSIDE)


class MountPoints:
    """The mount points of one root. `upper` is a descriptor of its upper directory, or -1."""

    def __init__(self, root: int, upper: int) -> None:
        self._root = root
        self._upper = upper
        self.stubs: list[Stub] = []

    def open(self, target: bytes, *, directory: bool) -> int:
        """An O_PATH descriptor of `target`, made (with its parents) if it is missing. Raises `SetupFailure`."""
        try:
            try:
                fd = open_inside(self._root, target)
            except FileNotFoundError:
                fd = self._make(target, directory)
        except OSError as error:
            raise SetupFailure("make the mount point", error.errno or 0, _text(target)) from error
        is_directory = os.fstat(fd).st_mode & 0o170000 == 0o040000
        if is_directory != directory:
            os.close(fd)
            what = "a directory is mounted on a file" if directory else "a file is mounted on a directory"
            raise SetupFailure(f"mount: {what}", 0, _text(target))
        if syscalls.filesystem_magic(fd) == syscalls.PROC_MAGIC:
            os.close(fd)
            raise SetupFailure("mount: nothing may be mounted inside /proc", 0, _text(target))
        return fd

    def open_own_directory(self, target: bytes) -> int:
        """As `open`, for a directory that must not be reached through a link of the image: such links have been
        the way out of other sandboxes (CVE-2019-19921)."""
        try:
            try:
                return syscalls.openat2(self._root, target.lstrip(b"/"), os.O_PATH | os.O_DIRECTORY, _NO_LINKS)
            except FileNotFoundError:
                return self._make(target, directory=True)
        except OSError as error:
            raise SetupFailure(
                "mount: the image has something other than a directory at", error.errno or 0, _text(target)
            ) from error

    def make_missing(self, paths: tuple[str, ...]) -> None:
        """Directories that stay, where nothing is there. Raises `SetupFailure`."""
        for path in paths:
            with stage("make the directory", path):
                try:
                    os.close(open_inside(self._root, path.encode("utf-8", "surrogateescape")))
                except FileNotFoundError:
                    self.make_directory(path.encode("utf-8", "surrogateescape"))

    def make_directory(self, path: bytes) -> None:
        """`path` as a directory that stays, its missing parents included. Raises `OSError`."""
        kept, self.stubs = self.stubs, []
        try:
            os.close(self._make(path, directory=True))
        finally:
            self.stubs = kept

    def _make(self, target: bytes, directory: bool) -> int:
        done: list[bytes] = []
        rest = [part for part in target.split(b"/") if part not in (b"", b".")][::-1]
        links = 0
        while rest:
            part = rest.pop()
            if part == b"..":
                done = done[:-1]
                continue
            here = b"/".join([*done, part])
            try:
                fd = syscalls.openat2(self._root, here, os.O_PATH | os.O_NOFOLLOW, syscalls.RESOLVE_IN_ROOT)
            except FileNotFoundError:
                self._create(b"/".join(done), part, directory or bool(rest))
                done.append(part)
                continue
            try:
                if os.fstat(fd).st_mode & 0o170000 != 0o120000:
                    done.append(part)
                    continue
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(40, "too many levels of symbolic links")
                destination = os.readlink(b"", dir_fd=fd)
            finally:
                os.close(fd)
            if destination.startswith(b"/"):
                done = []
            rest.extend([step for step in destination.split(b"/") if step not in (b"", b".")][::-1])
        return syscalls.openat2(self._root, b"/".join(done) or b".", os.O_PATH, _NO_LINKS)

    def _create(self, parent: bytes, name: bytes, directory: bool) -> None:
        path = b"/".join([parent, name]) if parent else name
        fd = syscalls.openat2(self._root, parent or b".", os.O_RDONLY | os.O_DIRECTORY, _NO_LINKS)
        try:
            self._note_copies(parent)
            if directory:
                os.mkdir(name, 0o755, dir_fd=fd)
            else:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=fd))
            self.stubs.append(("dir" if directory else "file", path, 0, 0, 0))
        finally:
            os.close(fd)

    def _note_copies(self, directory: bytes) -> None:
        """Remember which of `directory` and its parents are about to be copied up."""
        if self._upper < 0 or not directory:
            return
        parts = directory.split(b"/")
        for depth in range(1, len(parts) + 1):
            path = b"/".join(parts[:depth])
            if not self._in_upper(path):
                fd = syscalls.openat2(self._root, path, os.O_PATH, _NO_LINKS)
                status = os.fstat(fd)
                os.close(fd)
                self.stubs.append(("copied", path, status.st_mode, status.st_uid, status.st_gid))

    def _in_upper(self, path: bytes) -> bool:
        try:
            os.close(syscalls.openat2(self._upper, path, os.O_PATH, _NO_LINKS))
        except OSError:
            return False
        return True


def remove_stubs(upper: str, stubs: list[Stub], overlay_xattrs: str) -> None:
    """Take mount points that are still as `MountPoints` made them out of the upper directory again.

    A directory that was only copied up to hold one is removed if it is empty,
    has its old mode and owner and no attributes but overlay's own; the lower
    one shows through.
    Called after the sandbox has ended.
    """
    root = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for stub in reversed(stubs):
            parent, _, name = stub[1].rpartition(b"/")
            try:
                fd = syscalls.openat2(root, parent or b".", os.O_RDONLY | os.O_DIRECTORY, _NO_LINKS)
            except OSError:
                continue  # the step removed or replaced it
            try:
                _remove_stub(fd, stub, name, overlay_xattrs)
            finally:
                os.close(fd)
    finally:
        os.close(root)


def _remove_stub(parent: int, stub: Stub, name: bytes, overlay_xattrs: str) -> None:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stub[0] == "file":
            if status.st_mode & 0o170000 == 0o100000 and status.st_size == 0:
                os.unlink(name, dir_fd=parent)
            return
        if status.st_mode & 0o170000 != 0o040000:
            return
        if stub[0] == "copied":
            if (status.st_mode, status.st_uid, status.st_gid) != stub[2:]:
                return
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                names = os.listxattr(fd)
            finally:
                os.close(fd)
            if any(not attr.startswith(overlay_xattrs) or attr == overlay_xattrs + "opaque" for attr in names):
                return
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno not in (2, 39):  # gone, or not empty
            raise


def _text(path: bytes) -> str:
    return path.decode("utf-8", "replace")
