"""Pausing a container: all its processes stand still for a while, and go on as they were.

By the freezer of its control group where it has one of version 2 (kernel
documentation, cgroup-v2), else by SIGSTOP to each and SIGCONT afterwards. That
is repeated until none is found that runs: one may have been forked meanwhile.
What stood still before stays so. A process of its own lets all go on, also
where the one that paused them was killed.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import os
import sys
import time

from buildkit_py.sandbox.processes import processes_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn, Self

_SIGSTOP, _SIGCONT = 19, 18
_ENDING = (1, 2, 3, 15)  # HUP, INT, QUIT, TERM
_PAUSE, _ROUNDS = 0.005, 1000
# proc_pid_stat(5): stopped, traced, and what is no process any more.
_STILL = frozenset("TtZX")


class Paused:
    """A context manager for the container whose first process the pidfd is of; `cgroups` are its control groups.

    `complete` is whether all stand still: a process that waits for a disk or a server that does not answer does not.
    Only for a process with one thread.
    """

    def __init__(self, pidfd: int, cgroups: tuple[str, ...]) -> None:
        self._pidfd = pidfd
        self._freezers = [path for path in cgroups if os.path.exists(f"{path}/cgroup.freeze")]
        self._stopped: dict[int, int] = {}
        self._guardian: tuple[int, _socket.socket] | None = None
        self.complete = False

    def __enter__(self) -> Self:
        self._guardian = _start_guardian(self._freezers)
        try:
            self.complete = self._freeze() if self._freezers else self._stop()
        except BaseException:
            self._go_on()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._go_on()

    def _freeze(self) -> bool:
        for path in self._freezers:
            _write(f"{path}/cgroup.freeze", b"1")
        for _ in range(_ROUNDS):
            if all(_frozen(path) for path in self._freezers):
                return True
            time.sleep(_PAUSE)
        return False

    def _stop(self) -> bool:
        for number in range(_ROUNDS):
            running = [pid for pid in processes_of(self._pidfd) if _state(pid) not in _STILL]
            if not running:
                return True
            if number:
                time.sleep(_PAUSE)
            for pid in running:
                self._signal(pid)
        return False

    def _signal(self, pid: int) -> None:
        try:
            pidfd = self._stopped.get(pid, -1)
            if pidfd < 0:
                pidfd = os.pidfd_open(pid)
                if pid not in processes_of(self._pidfd):  # another one got the number before we had hold of it
                    os.close(pidfd)
                    return
                self._stopped[pid] = pidfd
                self._tell(pidfd)
            _signal.pidfd_send_signal(pidfd, _SIGSTOP)
        except OSError:
            pass  # it has ended

    def _tell(self, pidfd: int) -> None:
        """Let the guardian know of one before it is stopped."""
        if self._guardian is not None:
            rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pidfd.to_bytes(4, sys.byteorder))
            try:
                self._guardian[1].sendmsg([b"."], [rights])
            except OSError:
                pass  # somebody killed it; we are still here

    def _go_on(self) -> None:
        stopped, self._stopped = self._stopped, {}
        _let_go_on(self._freezers, list(stopped.values()))
        for pidfd in stopped.values():
            os.close(pidfd)
        if self._guardian is not None:
            pid, connection = self._guardian
            self._guardian = None
            connection.close()
            os.waitpid(pid, 0)


def _start_guardian(freezers: list[str]) -> tuple[int, _socket.socket]:
    """A process that lets go on what it is told of, once the connection to it has ended."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _guard(theirs, freezers)
    theirs.close()
    return pid, ours


def _guard(connection: _socket.socket, freezers: list[str]) -> NoReturn:
    told: list[int] = []
    try:
        for number in _ENDING:
            _signal.signal(number, _signal.SIG_IGN)
        os.setsid()
        while True:
            data, ancillary, _, _ = connection.recvmsg(1, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
            if not data:
                break
            told += [int.from_bytes(rights[:4], sys.byteorder) for _, _, rights in ancillary]
    finally:
        _let_go_on(freezers, told)
        os._exit(0)


def _let_go_on(freezers: list[str], stopped: list[int]) -> None:
    for path in freezers:
        try:
            _write(f"{path}/cgroup.freeze", b"0")
        except OSError:
            pass  # the container has ended, and its group with it
    for pidfd in stopped:
        try:
            _signal.pidfd_send_signal(pidfd, _SIGCONT)
        except OSError:
            pass  # it was killed meanwhile


def _frozen(path: str) -> bool:
    try:
        with open(f"{path}/cgroup.events", encoding="ascii") as file:
            return "frozen 1" in file.read().splitlines()
    except OSError:
        return True  # the container has ended


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _state(pid: int) -> str:
    """The state of a process as one letter, that of a dead one where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return "X"
