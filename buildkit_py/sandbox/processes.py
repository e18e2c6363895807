"""The processes of a container: those of its pid namespace, and of the ones that were made in it.

What /proc says of a process is true of the moment: one that ended meanwhile is none any more, and no error.
"""

from __future__ import annotations

import fcntl
import os

from buildkit_py.sandbox.container_root import pid_of

# ioctl_nsfs(2)
_NS_GET_PARENT = 0xB702


def processes_of(pidfd: int) -> list[int]:
    """The numbers of all processes of the container whose first process the pidfd is of, as this machine has them."""
    pid = pid_of(pidfd)
    try:
        wanted = _identity(os.stat(f"/proc/{pid}/ns/pid"))
        own = _identity(os.stat("/proc/self/ns/pid"))
    except OSError:
        return []
    if not pid or wanted == own:
        return []
    known = {wanted: True, own: False}
    return [number for number in _numbers() if _is_in(number, known)]


def _numbers() -> list[int]:
    return sorted([int(name) for name in os.listdir("/proc") if name.isdigit()])


def _is_in(number: int, known: dict[tuple[int, int], bool]) -> bool:
    """Whether a process is in the namespace of which `known` says so, or in one below; `known` learns of others."""
    try:
        fd = os.open(f"/proc/{number}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it has ended, or is somebody's whom we cannot look at, as nobody in the container is
        return False
    passed: list[tuple[int, int]] = []
    found = False
    try:
        while True:
            here = _identity(os.fstat(fd))
            if here in known:
                found = known[here]
                break
            passed.append(here)
            try:
                parent = fcntl.ioctl(fd, _NS_GET_PARENT)
            except OSError:  # there is none, or it is above our own
                break
            os.close(fd)
            fd = parent
    finally:
        os.close(fd)
    known.update(dict.fromkeys(passed, found))
    return found


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
