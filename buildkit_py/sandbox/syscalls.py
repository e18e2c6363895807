"""System calls that Python has no function for, each as one function that raises `OSError`.

Numbers and structures are from the kernel's `include/uapi`. Calls above 400
have one number on every architecture; of the older ones x86_64 and aarch64
are known here. This module is imported by the process that enters an image's
root, so it imports nothing but `os`, `sys` and the C half of `ctypes`: the
other half is 2 ms of type definitions, a tenth of what `pybuild run` takes.
"""

from __future__ import annotations

import os
import sys
from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_PYTHONAPI,
    FUNCFLAG_USE_ERRNO,
    Array,
    CFuncPtr,
    _SimpleCData,
    addressof,
    byref,
    dlopen,
    dlsym,
    get_errno,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeAlias

    _Number: TypeAlias = _SimpleCData[int]
    _Text: TypeAlias = _SimpleCData[bytes]
else:
    _Number = _Text = _SimpleCData


class _Long(_Number):
    _type_ = "l"


class _Int(_Number):
    _type_ = "i"


class _Word(_Number):
    _type_ = "I"


class _Pointer(_Text):
    _type_ = "z"


class _Words(Array[_Word]):
    _type_ = _Word
    _length_ = 6


class _Quad(_Number):
    _type_ = "Q"


class _CloneArguments(Array[_Quad]):
    """struct clone_args of clone3(2): flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
    set_tid, set_tid_size, cgroup.
    """

    _type_ = _Quad
    _length_ = 11


class _Longs(Array[_Long]):
    _type_ = _Long
    _length_ = 32


# PYTHONAPI keeps the interpreter's lock during a call: a raw `clone` must not return in a child that has to take it
# anew.
_FLAGS = FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI | FUNCFLAG_USE_ERRNO


class _LongFunction(CFuncPtr):
    _flags_ = _FLAGS
    _restype_ = _Long


class _IntFunction(CFuncPtr):
    _flags_ = _FLAGS
    _restype_ = _Int


_LIBC = dlopen(None, 0)  # type: ignore[arg-type]  # None is the process itself (dlopen(3))
_syscall = _LongFunction(dlsym(_LIBC, "syscall"))
_mount, _umount2, _prctl, _ioctl, _socket, _setns, _unshare, _sethostname, _fstatfs, _getrlimit, _setrlimit = [
    _IntFunction(dlsym(_LIBC, name))
    for name in (
        *("mount", "umount2", "prctl", "ioctl", "socket", "setns", "unshare", "sethostname", "fstatfs"),
        *("getrlimit", "setrlimit"),
    )
]

MACHINE: Final = os.uname().machine
_OLD_NUMBERS = {
    "x86_64": {
        "pivot_root": 155,
        "clone": 56,
        "keyctl": 250,
        "seccomp": 317,
        "capset": 126,
        "capget": 125,
        "execveat": 322,
    },
    "aarch64": {
        "pivot_root": 41,
        "clone": 220,
        "keyctl": 219,
        "seccomp": 277,
        "capset": 91,
        "capget": 90,
        "execveat": 281,
    },
}
_NR = _OLD_NUMBERS.get(MACHINE, _OLD_NUMBERS["aarch64"])  # aarch64 has the generic numbers
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLONE3, _CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 435, 436, 437, 442

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
_MOVE_MOUNT_EMPTY_PATHS = 0x4 | 0x40

MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MS_SLAVE: Final = 0x80000
MNT_DETACH: Final = 2

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8

FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_SET_FD: Final = 5
FSCONFIG_CMD_CREATE: Final = 6

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_IN_ROOT: Final = 0x10

CLONE_PARENT: Final = 0x00008000
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
_CLONE_PIDFD = 0x1000
_CLONE_INTO_CGROUP = 1 << 33
_SIGCHLD = 17
_CLOSE_RANGE_CLOEXEC = 4
_EAGAIN, _OPENAT2_TRIES = 11, 100_000

_ALL_BITS = (1 << 64) - 1

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


def _words(*values: int) -> bytes:
    """A C structure of 64-bit numbers."""
    return b"".join([value.to_bytes(8, sys.byteorder) for value in values])


def _checked(result: int, what: str) -> int:
    if result < 0:
        errno = get_errno()
        raise OSError(errno, os.strerror(errno), what)
    return result


def clone(flags: int) -> tuple[int, int]:
    """Fork with new namespaces. (0, -1) in the child, (process id, pidfd) in the parent.

    Only for processes with a single thread. The pidfd is close-on-exec.
    """
    pidfd = _Int(-1)
    # Both ABIs have the pidfd's place third (parent_tid).
    pid = _checked(
        _syscall(_Long(_NR["clone"]), _Long(flags | _CLONE_PIDFD | _SIGCHLD), None, byref(pidfd), None, None),
        "clone",
    )
    return pid, (pidfd.value if pid else -1)


def clone_into(cgroup: int, flags: int) -> tuple[int, int]:
    """As `clone`, with the child in a control group of version 2: the descriptor of its directory (Linux 5.7)."""
    pidfd = _Int(-1)
    arguments = _CloneArguments(flags | _CLONE_PIDFD | _CLONE_INTO_CGROUP, addressof(pidfd))
    arguments[4], arguments[10] = _SIGCHLD, cgroup
    size = 8 * _CloneArguments._length_
    pid = _checked(_syscall(_Long(_CLONE3), byref(arguments), _Long(size)), "clone3")
    return pid, (pidfd.value if pid else -1)


def unshare(flags: int) -> None:
    _checked(_unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _checked(_setns(fd, kind), "setns")


def mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    _checked(_mount(source, target, kind, _Long(flags), data), "mount")


def umount(target: bytes, flags: int = 0) -> None:
    _checked(_umount2(target, flags), "umount2")


def pivot_root(new: bytes, old: bytes) -> None:
    _checked(_syscall(_Long(_NR["pivot_root"]), new, old), "pivot_root")


def open_tree(directory: int, path: bytes, flags: int) -> int:
    return _checked(_syscall(_Long(_OPEN_TREE), directory, path, _Long(flags | OPEN_TREE_CLOEXEC)), "open_tree")


def move_mount(tree: int, directory: int, path: bytes = b"") -> None:
    """Attach the mount `tree` at `path` below `directory`; an empty path means `directory` itself."""
    flags = _MOVE_MOUNT_EMPTY_PATHS if not path else 0x4
    _checked(_syscall(_Long(_MOVE_MOUNT), tree, b"", directory, path, _Long(flags)), "move_mount")


def mount_setattr(tree: int, attributes: int, *, recursive: bool = False, propagation: int = 0) -> None:
    """Add mount attributes to the mount that `tree` is the root of."""
    attr = _words(attributes, 0, propagation, 0)  # struct mount_attr: set, clear, propagation, user namespace
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _checked(
        _syscall(
            _Long(_MOUNT_SETATTR),
            tree,
            b"",
            _Long(flags),
            attr,
            _Long(len(attr)),
        ),
        "mount_setattr",
    )


def fsopen(kind: bytes) -> int:
    return _checked(_syscall(_Long(_FSOPEN), kind, 1), "fsopen")


def fsconfig(fs: int, command: int, key: bytes | None = None, value: bytes | None = None, aux: int = 0) -> None:
    _checked(_syscall(_Long(_FSCONFIG), fs, command, key, value, aux), "fsconfig")


def fsmount(fs: int, attributes: int) -> int:
    return _checked(_syscall(_Long(_FSMOUNT), fs, 1, attributes), "fsmount")


def openat2(directory: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    how = _words(flags | os.O_CLOEXEC, mode, resolve)  # struct open_how
    size = _Long(len(how))
    for _ in range(_OPENAT2_TRIES):
        fd = _syscall(_Long(_OPENAT2), directory, path, how, size)
        # The kernel answers so when anything at all was renamed or mounted while it followed a ".." below a root.
        if fd >= 0 or get_errno() != _EAGAIN:
            break
        os.sched_yield()
    return _checked(fd, "openat2")


def execveat(directory: int, name: bytes, argv: list[bytes], env: list[bytes]) -> None:
    """Exec a file of a directory that is no link (AT_SYMLINK_NOFOLLOW); returns never, or raises."""

    def vector(words: list[bytes]) -> object:
        kind: Any = type("Vector", (Array,), {"_type_": _Pointer, "_length_": len(words) + 1})
        return kind(*words)  # and a null pointer

    number = _Long(_NR["execveat"])
    _checked(_syscall(number, directory, name, vector(argv), vector(env), AT_SYMLINK_NOFOLLOW), "execveat")


def close_from(first: int, *, on_exec: bool) -> None:
    """Close every descriptor from `first` on, now or at the next exec."""
    flags = _CLOSE_RANGE_CLOEXEC if on_exec else 0
    _checked(_syscall(_Long(_CLOSE_RANGE), first, _Long(0xFFFFFFFF), flags), "close_range")


def close_all_but(kept: int) -> None:
    """Close every descriptor from 3 on now, but this one at the next exec."""
    close_from(kept, on_exec=True)
    close_from(kept + 1, on_exec=False)
    if kept > 3:
        _checked(_syscall(_Long(_CLOSE_RANGE), 3, _Long(kept - 1), 0), "close_range")


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    return _checked(
        _prctl(option, _Long(argument), _Long(second), _Long(0), _Long(0)),
        "prctl",
    )


def join_new_session_keyring() -> None:
    keyctl_join_session_keyring = 1
    _checked(_syscall(_Long(_NR["keyctl"]), keyctl_join_session_keyring, None), "keyctl")


def load_seccomp(program: bytes) -> None:
    """Put the classic BPF `program` before every system call of this process from now on."""
    set_mode_filter = 1
    pointer = _Pointer(program)
    fprog = _words(len(program) // 8) + bytes(pointer)  # struct sock_fprog
    _checked(_syscall(_Long(_NR["seccomp"]), set_mode_filter, 0, fprog), "seccomp")


def capset(effective: int, permitted: int, inheritable: int = 0) -> None:
    version_3 = 0x20080522
    low = 0xFFFFFFFF
    header = _Words(version_3)
    data = _Words(
        effective & low, permitted & low, inheritable & low, effective >> 32, permitted >> 32, inheritable >> 32
    )
    _checked(_syscall(_Long(_NR["capset"]), header, data), "capset")


def permitted_capabilities() -> int:
    version_3 = 0x20080522
    header, data = _Words(version_3), _Words()
    _checked(_syscall(_Long(_NR["capget"]), header, data), "capget")
    return int(data[1]) | int(data[4]) << 32


def raise_loopback() -> None:
    """Set the interface `lo` of this network namespace up."""
    af_inet, sock_dgram_cloexec, siocsifflags, iff_up = 2, 2 | os.O_CLOEXEC, 0x8914, 1
    fd = _checked(_socket(af_inet, sock_dgram_cloexec, 0), "socket")
    try:
        request = b"lo".ljust(16, b"\0") + iff_up.to_bytes(2, sys.byteorder).ljust(24, b"\0")  # struct ifreq
        _checked(_ioctl(fd, _Long(siocsifflags), request), "ioctl SIOCSIFFLAGS")
    finally:
        os.close(fd)


def open_pty_peer(master: int) -> int:
    """The other side of the pseudo-terminal `master`, unlocked, without looking up a path."""
    tiocsptlck, tiocgptpeer = 0x40045431, 0x5441
    unlock = _Int(0)
    _checked(_ioctl(master, _Long(tiocsptlck), byref(unlock)), "ioctl TIOCSPTLCK")
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    return _checked(_ioctl(master, _Long(tiocgptpeer), _Long(flags)), "ioctl TIOCGPTPEER")


def set_terminal_size(fd: int, rows: int, columns: int) -> None:
    """Of a pseudo-terminal, by either side."""
    tiocswinsz = 0x5414
    size = rows.to_bytes(2, sys.byteorder) + columns.to_bytes(2, sys.byteorder)
    _checked(_ioctl(fd, _Long(tiocswinsz), size.ljust(8, b"\0")), "ioctl TIOCSWINSZ")


def take_controlling_terminal(fd: int) -> None:
    tiocsctty = 0x540E
    _checked(_ioctl(fd, _Long(tiocsctty), _Long(0)), "ioctl TIOCSCTTY")


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 without it."""
    landlock_create_ruleset, create_ruleset_version = 444, 1
    result = _syscall(_Long(landlock_create_ruleset), None, _Long(0), _Long(create_ruleset_version))
    return max(int(result), 0)


def sethostname(name: bytes) -> None:
    _checked(_sethostname(name, _Long(len(name))), "sethostname")


def getrlimit(number: int) -> tuple[int, int]:
    """The soft and the hard limit of a resource; 2**64-1 is none."""
    buffer = _Longs()
    _checked(_getrlimit(number, buffer), "getrlimit")
    return int(buffer[0]) & _ALL_BITS, int(buffer[1]) & _ALL_BITS


def setrlimit(number: int, soft: int, hard: int) -> None:
    _checked(_setrlimit(number, _words(soft, hard)), "setrlimit")


def filesystem_magic(fd: int) -> int:
    """`f_type` of the file system that `fd` lies on."""
    buffer = _Longs()
    _checked(_fstatfs(fd, buffer), "fstatfs")
    return int(buffer[0])


PROC_MAGIC: Final = 0x9FA0
CGROUP2_MAGIC: Final = 0x63677270
