"""Processes in the background, many at once: forks of one that has loaded what each of them needs.

Of what a process does until it is ready, to start an interpreter and to load modules is the most (`background`). For
many it is done once, by a fork server, which whoever begins them has for as long as that takes: it is no daemon. It is
asked by a socket of whole messages, each a name with the descriptor on which the process of that name answers. What
is asked for when the socket closes is still begun; then the server ends, and its forks stay.

A fork is what `background.begin` would have started: in a session of its own, with no descriptor of others, and with
the same command line, in which its name replaces the server's.
"""

from __future__ import annotations

import _socket
import gc
import marshal
import os
import select

from buildkit_py.api import background
from buildkit_py.api.background import VACANT
from buildkit_py.errors import SandboxError
from buildkit_py.runner import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from buildkit_py.errors import PybuildError

# How many are begun and not ready yet: more would only be in each other's way.
_AT_ONCE = 16
_ARG_START = 45  # among the fields of /proc/self/stat behind the name (proc_pid_stat(5))


class Forks:
    """A fork server for processes `run(root, name, ready)` of a module, each of them `what`, in words.

    It loads the module and what its `LATER` names while this process goes on. Raises `SandboxError`.
    """

    def __init__(self, module: str, root: str, what: str) -> None:
        self._what = what
        self._control, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        try:
            self._pid = background.spawn(module, root, VACANT, what, theirs.fileno())
        except SandboxError:
            self._control.close()
            raise
        finally:
            theirs.close()

    def begin(self, names: Iterable[str], begun: Callable[[str, PybuildError | None], None]) -> None:
        """Begin processes by their names, of 64 characters each, several at a time; returns when none is left to wait
        for. `begun` hears of each that is ready, or why it is not.
        """
        left = list(reversed(list(names)))
        poll, awaited = select.poll(), dict[int, str]()
        try:
            while left or awaited:
                while left and len(awaited) < _AT_ONCE:
                    reader = self._ask(left[-1])
                    awaited[reader] = left.pop()
                    poll.register(reader, select.POLLIN)
                self._hear(poll, awaited, begun)
        finally:
            # An exception of a signal's comes at any time: who is interrupted finds all that was asked for.
            while awaited:
                self._hear(poll, awaited, begun)

    def _ask(self, name: str) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            control.send(self._control, name, fd=writer)
        except OSError:
            pass  # it has ended, which the answer says
        finally:
            os.close(writer)
        return reader

    def _hear(
        self, poll: select.poll, awaited: dict[int, str], begun: Callable[[str, PybuildError | None], None]
    ) -> None:
        for fd, _ in poll.poll():
            poll.unregister(fd)
            name = awaited.pop(fd)
            begun(name, background.answer(fd, self._what))

    def close(self) -> None:
        """End the server; what it has begun goes on."""
        pid, self._pid = self._pid, 0
        if pid:
            self._control.close()
            os.waitpid(pid, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(fd: int, module: str) -> str:
    """Be the server of the socket `fd`, in whose place a fork answers; the name of what this process now is.

    Each fork returns once from here, and the server with "" when nobody is left to ask. For a process with one thread.
    """
    for name in __import__(module, fromlist=["LATER"]).LATER:
        __import__(name)
    requests = control.Socket(fileno=fd)
    place = _place()
    gc.collect()
    gc.freeze()  # looking for garbage would write to each object, and so copy the page that it shares
    while True:
        message, writer = control.receive_with(requests)
        while _has_ended():
            pass
        match message:
            case (str(name),) if writer >= 0:
                try:
                    pid = os.fork()
                except OSError as problem:
                    said = background.failed(SandboxError(f"cannot start a process: {problem.strerror}"))
                    os.write(writer, marshal.dumps(said))
                    pid = -1
                if pid == 0:
                    _become(requests, fd, writer, place, name)
                    return name
                os.close(writer)
            case _:
                return ""


def _become(requests: control.Socket, fd: int, writer: int, place: int, name: str) -> None:
    """In a fork: be in a session of its own, answer where the server was asked, and be called by the name."""
    os.setsid()
    requests.detach()
    os.dup2(writer, fd)
    os.close(writer)
    if not place:
        return
    try:
        memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.pwrite(memory, name.encode(), place)
        finally:
            os.close(memory)
    except OSError:
        pass  # some kernels let nobody write there (`proc_mem.restrict_write`), and it is a name for people only


def _place() -> int:
    """Where in this process's memory the name in its command line lies; 0 where it has none."""
    with open("/proc/self/cmdline", "rb") as file:
        before, found, _ = file.read().partition(f"\0{VACANT}\0".encode())
    with open("/proc/self/stat", "rb") as file:
        start = int(file.read().rpartition(b")")[2].split()[_ARG_START])
    return start + len(before) + 1 if found and start else 0


def _has_ended() -> bool:
    """Whether a fork had ended, which is forgotten now: one that was never ready, or not for long."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False
