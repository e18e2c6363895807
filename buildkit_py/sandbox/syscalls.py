"""System calls that Python has no function for, each as one function that raises `OSError`.

Numbers and structures are from the kernel's `include/uapi`. Calls above 400
have one number on every architecture; of the older ones x86_64 and aarch64
are known here. This module is imported by the process that enters an image's
root, so it imports nothing but `ctypes`, `os` and `sys`.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# PyDLL keeps the interpreter's lock during a call: a raw `clone` must not return in a child that has to take it anew.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

MACHINE: Final = os.uname().machine
_OLD_NUMBERS = {
    "x86_64": {"pivot_root": 155, "clone": 56, "keyctl": 250, "seccomp": 317, "capset": 126, "capget": 125},
    "aarch64": {"pivot_root": 41, "clone": 220, "keyctl": 219, "seccomp": 277, "capset": 91, "capget": 90},
}
_NR = _OLD_NUMBERS.get(MACHINE, _OLD_NUMBERS["aarch64"])  # aarch64 has the generic numbers
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 436, 437, 442

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
_MOVE_MOUNT_EMPTY_PATHS = 0x4 | 0x40

MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MNT_DETACH: Final = 2

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8

FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_SET_FD: Final = 5
FSCONFIG_CMD_CREATE: Final = 6

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_IN_ROOT: Final = 0x10

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
_CLONE_PIDFD = 0x1000
_CLOSE_RANGE_CLOEXEC = 4
_EAGAIN, _OPENAT2_TRIES = 11, 100_000

PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class _Ifreq(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 16), ("flags", ctypes.c_short), ("pad", ctypes.c_char * 22))


def _long(value: int) -> ctypes.c_long:
    return ctypes.c_long(value)


def _checked(result: int, what: str) -> int:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), what)
    return result


def clone(flags: int) -> tuple[int, int]:
    """Fork with new namespaces. (0, -1) in the child, (process id, pidfd) in the parent.

    Only for processes with a single thread. The pidfd is close-on-exec.
    """
    pidfd = ctypes.c_int(-1)
    sigchld = 17
    # Both ABIs have the pidfd's place third (parent_tid).
    pid = _checked(
        _syscall(_long(_NR["clone"]), _long(flags | _CLONE_PIDFD | sigchld), None, ctypes.byref(pidfd), None, None),
        "clone",
    )
    return pid, (pidfd.value if pid else -1)


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _checked(_libc.setns(fd, kind), "setns")


def mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    _checked(_libc.mount(source, target, kind, ctypes.c_ulong(flags), data), "mount")


def umount(target: bytes, flags: int = 0) -> None:
    _checked(_libc.umount2(target, flags), "umount2")


def pivot_root(new: bytes, old: bytes) -> None:
    _checked(_syscall(_long(_NR["pivot_root"]), new, old), "pivot_root")


def open_tree(directory: int, path: bytes, flags: int) -> int:
    return _checked(_syscall(_long(_OPEN_TREE), directory, path, ctypes.c_uint(flags | OPEN_TREE_CLOEXEC)), "open_tree")


def move_mount(tree: int, directory: int, path: bytes = b"") -> None:
    """Attach the mount `tree` at `path` below `directory`; an empty path means `directory` itself."""
    flags = _MOVE_MOUNT_EMPTY_PATHS if not path else 0x4
    _checked(_syscall(_long(_MOVE_MOUNT), tree, b"", directory, path, ctypes.c_uint(flags)), "move_mount")


def mount_setattr(tree: int, attributes: int, *, recursive: bool = False, propagation: int = 0) -> None:
    """Add mount attributes to the mount that `tree` is the root of."""
    attr = _MountAttr(attributes, 0, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _checked(
        _syscall(
            _long(_MOUNT_SETATTR),
            tree,
            b"",
            ctypes.c_uint(flags),
            ctypes.byref(attr),
            ctypes.c_size_t(ctypes.sizeof(attr)),
        ),
        "mount_setattr",
    )


def fsopen(kind: bytes) -> int:
    return _checked(_syscall(_long(_FSOPEN), kind, 1), "fsopen")


def fsconfig(fs: int, command: int, key: bytes | None = None, value: bytes | None = None, aux: int = 0) -> None:
    _checked(_syscall(_long(_FSCONFIG), fs, command, key, value, aux), "fsconfig")


def fsmount(fs: int, attributes: int) -> int:
    return _checked(_syscall(_long(_FSMOUNT), fs, 1, attributes), "fsmount")


def openat2(directory: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    for _ in range(_OPENAT2_TRIES):
        fd = _syscall(_long(_OPENAT2), directory, path, ctypes.byref(how), size)
        # The kernel answers so when anything at all was renamed or mounted while it followed a ".." below a root.
        if fd >= 0 or ctypes.get_errno() != _EAGAIN:
            break
        os.sched_yield()
    return _checked(fd, "openat2")


def close_from(first: int, *, on_exec: bool) -> None:
    """Close every descriptor from `first` on, now or at the next exec."""
    flags = _CLOSE_RANGE_CLOEXEC if on_exec else 0
    _checked(_syscall(_long(_CLOSE_RANGE), first, ctypes.c_uint(0xFFFFFFFF), flags), "close_range")


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    return _checked(
        _libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0)),
        "prctl",
    )


def join_new_session_keyring() -> None:
    keyctl_join_session_keyring = 1
    _checked(_syscall(_long(_NR["keyctl"]), keyctl_join_session_keyring, None), "keyctl")


def load_seccomp(program: bytes) -> None:
    """Put the classic BPF `program` before every system call of this process from now on."""
    set_mode_filter = 1
    fprog = _SockFprog(len(program) // 8, program)
    _checked(_syscall(_long(_NR["seccomp"]), set_mode_filter, 0, ctypes.byref(fprog)), "seccomp")


def capset(effective: int, permitted: int, inheritable: int = 0) -> None:
    version_3 = 0x20080522
    low = 0xFFFFFFFF
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    data = (ctypes.c_uint32 * 6)(
        effective & low, permitted & low, inheritable & low, effective >> 32, permitted >> 32, inheritable >> 32
    )
    _checked(_syscall(_long(_NR["capset"]), header, data), "capset")


def permitted_capabilities() -> int:
    version_3 = 0x20080522
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    data = (ctypes.c_uint32 * 6)()
    _checked(_syscall(_long(_NR["capget"]), header, data), "capget")
    return int(data[1]) | int(data[4]) << 32


def raise_loopback() -> None:
    """Set the interface `lo` of this network namespace up."""
    af_inet, sock_dgram_cloexec, siocsifflags, iff_up = 2, 2 | os.O_CLOEXEC, 0x8914, 1
    fd = _checked(_libc.socket(af_inet, sock_dgram_cloexec, 0), "socket")
    try:
        request = _Ifreq(b"lo", iff_up, b"")
        _checked(_libc.ioctl(fd, ctypes.c_ulong(siocsifflags), ctypes.byref(request)), "ioctl SIOCSIFFLAGS")
    finally:
        os.close(fd)


def open_pty_peer(master: int) -> int:
    """The other side of the pseudo-terminal `master`, unlocked, without looking up a path."""
    tiocsptlck, tiocgptpeer = 0x40045431, 0x5441
    unlock = ctypes.c_int(0)
    _checked(_libc.ioctl(master, ctypes.c_ulong(tiocsptlck), ctypes.byref(unlock)), "ioctl TIOCSPTLCK")
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    return _checked(_libc.ioctl(master, ctypes.c_ulong(tiocgptpeer), ctypes.c_long(flags)), "ioctl TIOCGPTPEER")


def take_controlling_terminal(fd: int) -> None:
    tiocsctty = 0x540E
    _checked(_libc.ioctl(fd, ctypes.c_ulong(tiocsctty), ctypes.c_long(0)), "ioctl TIOCSCTTY")


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 without it."""
    landlock_create_ruleset, create_ruleset_version = 444, 1
    result = _syscall(_long(landlock_create_ruleset), None, ctypes.c_size_t(0), ctypes.c_uint(create_ruleset_version))
    return max(int(result), 0)


def sethostname(name: bytes) -> None:
    _checked(_libc.sethostname(name, ctypes.c_size_t(len(name))), "sethostname")


def filesystem_magic(fd: int) -> int:
    """`f_type` of the file system that `fd` lies on."""
    buffer = (ctypes.c_long * 32)()
    _checked(_libc.fstatfs(fd, buffer), "fstatfs")
    return int(buffer[0])


PROC_MAGIC: Final = 0x9FA0
CGROUP2_MAGIC: Final = 0x63677270
