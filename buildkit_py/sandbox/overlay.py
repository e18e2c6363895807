"""Overlay mounts made with descriptors, so that neither the number nor the length of paths matters.

`lowerdir+` with descriptors needs Linux 6.13; before it, mount(2) takes the
directories as `/proc/self/fd/N`, in groups that fit its one page of options.
The kernel takes 500 lower directories and two overlays above each other:
longer lists get a read-only overlay of their lowest part first. Only the
lowest may be grouped so: an overlay hides its own whiteouts, which must
still hide what lies below them.
"""

from __future__ import annotations

import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import SetupFailure

_MOST_LOWERS = 490  # the kernel's OVL_MAX_STACK is 500; the rest is for directories that we add
_MOST_LOWERS_BY_STRING = 180  # "/proc/self/fd/NNN:" in a page of 4096 bytes
MOST_LAYERS = 2 * _MOST_LOWERS - 1
_OPTIONS = {b"index": b"off", b"metacopy": b"off", b"redirect_dir": b"nofollow"}


def unique(layers: tuple[str, ...]) -> list[str]:
    """`layers` (lowest first) with only the highest of equal ones: the kernel refuses one directory twice, and
    everything that the lower one says is said again by the higher."""
    seen: set[str] = set()
    kept = []
    for layer in reversed(layers):
        if layer not in seen:
            seen.add(layer)
            kept.append(layer)
    return kept[::-1]


def open_directory(path: str, what: str) -> int:
    """An O_PATH descriptor. Raises `SetupFailure`."""
    try:
        return os.open(path.encode("utf-8", "surrogateescape"), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SetupFailure(f"open {what}", error.errno or 0, path) from error


class Overlays:
    """Makes overlay mounts of one sandbox.

    `scaffold` is an attached tmpfs on which groups are mounted; `user_xattr`
    is for user namespaces, where `trusted.*` attributes cannot be written;
    `by_descriptor` False asks for the way of kernels before 6.13.
    """

    def __init__(self, scaffold: int, *, user_xattr: bool, by_descriptor: bool = True) -> None:
        self._scaffold = scaffold
        self._user_xattr = user_xattr
        self._by_descriptor = by_descriptor
        self._groups = 0

    def mount(
        self, lowers: list[int], *, upper: int = -1, work: int = -1, volatile: bool = False, attributes: int = 0
    ) -> int:
        """A detached mount of the directories `lowers` (lowest first) under `upper`; its root's descriptor.

        All descriptors given are closed. Without `upper` two lowers are
        needed. Raises `SetupFailure` with the kernel's own words.
        """
        lowers = list(lowers)
        try:
            while True:
                try:
                    return self._mount_nested(lowers, upper, work, volatile, attributes)
                except _NoDescriptors:
                    self._by_descriptor = False
        finally:
            for fd in (*lowers, upper, work):
                if fd >= 0:
                    os.close(fd)

    def check(self, count: int) -> None:
        """To be asked before so many directories are opened. Raises `SetupFailure` where no overlay takes them."""
        _refuse_more(count, _MOST_LOWERS)

    def group(self, lowers: list[int]) -> int:
        """These directories as one, read-only, to be a lower directory of another overlay; closes them.

        The kernel refuses a lower directory that lies below another one ("overlapping lowerdir path"), as
        layers in a store do below this machine's root. The root of an overlay lies below nothing.
        """
        return self._attach(self.mount(lowers, attributes=syscalls.MOUNT_ATTR_RDONLY))

    def _mount_nested(self, lowers: list[int], upper: int, work: int, volatile: bool, attributes: int) -> int:
        most = _MOST_LOWERS if self._by_descriptor else _MOST_LOWERS_BY_STRING
        _refuse_more(len(lowers), most)
        if len(lowers) > most:
            group = self._mount(lowers[:most], -1, -1, False, syscalls.MOUNT_ATTR_RDONLY)
            for fd in lowers[:most]:
                os.close(fd)
            lowers[:most] = [self._attach(group)]
        return self._mount(lowers, upper, work, volatile, attributes)

    def _attach(self, tree: int) -> int:
        """Mount on the scaffold: a detached mount cannot be a lower directory."""
        name = b"group-%d" % self._groups
        self._groups += 1
        os.mkdir(name, 0o700, dir_fd=self._scaffold)
        syscalls.move_mount(tree, self._scaffold, name)
        return tree

    def _mount(self, lowers: list[int], upper: int, work: int, volatile: bool, attributes: int) -> int:
        if not self._by_descriptor:
            return self._mount_by_string(lowers, upper, work, volatile, attributes)
        fs = syscalls.fsopen(b"overlay")
        try:
            self._configure(fs, lowers, upper, work, volatile)
            return syscalls.fsmount(fs, attributes)
        except OSError as error:
            raise SetupFailure("mount the layers", error.errno or 0, _kernel_message(fs)) from error
        finally:
            os.close(fs)

    def _configure(self, fs: int, lowers: list[int], upper: int, work: int, volatile: bool) -> None:
        for position, lower in enumerate(reversed(lowers)):
            try:
                syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_FD, b"lowerdir+", None, lower)
            except OSError as error:
                if position == 0 and error.errno == 22:
                    raise _NoDescriptors from error
                raise
        if upper >= 0:
            syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_FD, b"upperdir", None, upper)
            syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_FD, b"workdir", None, work)
            if volatile:
                syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_FLAG, b"volatile")
        for key, value in _OPTIONS.items():
            syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_STRING, key, value)
        if self._user_xattr:
            syscalls.fsconfig(fs, syscalls.FSCONFIG_SET_FLAG, b"userxattr")
        syscalls.fsconfig(fs, syscalls.FSCONFIG_CMD_CREATE)

    def _mount_by_string(self, lowers: list[int], upper: int, work: int, volatile: bool, attributes: int) -> int:
        options = [b"%s=%s" % item for item in _OPTIONS.items()]
        options.append(b"lowerdir=" + b":".join([b"/proc/self/fd/%d" % fd for fd in reversed(lowers)]))
        if upper >= 0:
            options.append(b"upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d" % (upper, work))
            if volatile:
                options.append(b"volatile")
        if self._user_xattr:
            options.append(b"userxattr")
        name = b"group-%d" % self._groups
        self._groups += 1
        os.mkdir(name, 0o700, dir_fd=self._scaffold)
        target = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._scaffold)
        try:
            syscalls.mount(b"overlay", b"/proc/self/fd/%d" % target, b"overlay", 0, b",".join(options))
            tree = syscalls.open_tree(self._scaffold, name, 0)
            if attributes:
                syscalls.mount_setattr(tree, attributes)
            return tree
        except OSError as error:
            raise SetupFailure("mount the layers", error.errno or 0, "") from error
        finally:
            os.close(target)


class _NoDescriptors(Exception):
    """The kernel's overlay takes no descriptors."""


def _kernel_message(fs: int) -> str:
    """What the kernel says about a failed fsconfig ("e overlay: …" lines)."""
    try:
        return os.read(fs, 4096).decode("utf-8", "replace").strip().removeprefix("e ").rstrip("\n")
    except OSError:
        return ""


def _refuse_more(count: int, most: int) -> None:
    if count >= 2 * most:
        raise SetupFailure(f"mount the layers: there are more than {2 * most - 1}")
