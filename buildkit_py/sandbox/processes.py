"""The processes of a container: those of its pid namespace, and of the ones that were made in it.

What /proc says of a process is true of the moment: one that ended meanwhile is none any more, and no error.
"""

from __future__ import annotations

import fcntl
import os

from buildkit_py.sandbox.pidfds import pid_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# ioctl_nsfs(2)
_NS_GET_PARENT = 0xB702


def processes_of(pidfd: int) -> list[int]:
    """The numbers of all processes of the container whose first process the pidfd is of, as this machine has them."""
    return processes_of_each((pidfd,))[0]


def processes_of_each(pidfds: Sequence[int]) -> list[list[int]]:
    """The same for several containers, of one look at all that run."""
    found: list[list[int]] = [[] for _ in pidfds]
    # To which container the processes of a namespace belong.
    known = {_identity(os.stat("/proc/self/ns/pid")): -1}
    for position, pidfd in enumerate(pidfds):
        pid = pid_of(pidfd)
        try:
            known.setdefault(_identity(os.stat(f"/proc/{pid}/ns/pid")) if pid else (0, 0), position)
        except OSError:
            continue  # it has just ended
    for number in _numbers():
        position = _owner(number, known)
        if position >= 0:
            found[position].append(number)
    return found


def _numbers() -> list[int]:
    return sorted([int(name) for name in os.listdir("/proc") if name.isdigit()])


def _owner(number: int, known: dict[tuple[int, int], int]) -> int:
    """What `known` says of the namespace that a process is in, or of the next one above; -1 for nothing.

    It learns of others on the way.
    """
    try:
        fd = os.open(f"/proc/{number}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it has ended, or is somebody's whom we cannot look at, as nobody in the container is
        return -1
    passed: list[tuple[int, int]] = []
    found = -1
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
