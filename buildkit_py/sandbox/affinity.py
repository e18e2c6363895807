"""CPU affinity: another processor for a child that is to run beside this process, and this one's for one it waits for.

A kernel may start a child on the processor of who forks it, as that one mostly
waits for it, and look only at the next tick who else is idle. That is up to
4 ms: a fifth of what `pybuild run` takes.
"""

from __future__ import annotations

import os

_PROCESSOR = 36  # behind the name, which may have blanks in it


class Others:
    """The processors other than the one that this process is on now."""

    __slots__ = ("_allowed", "_others")

    def __init__(self) -> None:
        self._allowed: set[int] = set()
        self._others: set[int] = set()
        try:
            self._allowed = os.sched_getaffinity(0)
            self._others = self._allowed - {_own()}
        except OSError:
            pass  # a filter is in the way, or there is no /proc: then as the kernel likes it

    def send(self, pid: int) -> None:
        """Have a child that has just begun go on there, if it is here. The kernel may then move it as before, but to no
        processor that this process got later (sched(7)).

        To be called at once, with nothing in between: the child may be given the processor that this process has.
        """
        if self._others:
            try:
                os.sched_setaffinity(pid, self._others)
                os.sched_setaffinity(pid, self._allowed)
            except OSError:
                pass  # it has ended


def come_here(pid: int) -> None:
    """Have a child go on on the processor of this process, which has little more to do than to wait for it.

    Where it is other processes may run as well, and the kernel would leave it there until the next tick, too. Only for
    one that is no command yet: in between it may have no other processor.
    """
    try:
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(pid, {_own()})
        os.sched_setaffinity(pid, allowed)
    except OSError:
        pass  # it has ended, or a filter is in the way


def _own() -> int:
    """The processor that this process is on (proc_pid_stat(5), `processor`)."""
    fd = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 1 << 12).rpartition(b")")[2].split()[_PROCESSOR])
    finally:
        os.close(fd)
