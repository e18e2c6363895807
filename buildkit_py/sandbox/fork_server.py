"""A small process from which sandboxes are forked, so that the builder, large and threaded, never forks itself.

It is made by `launch.Launcher`, takes requests from one socket and tells
each sandbox's end on a channel of its own. It ends, and all sandboxes with
it, when the builder does.

Requests are described in `request`. The channel of one then carries marshalled tuples, one a message:

    ("pid", number)                     from here, with the pidfd
    ("ready", stubs)                    from `init`, with the terminal's descriptor if there is one
    ("error", stage, errno, subject)    from `init` or here: set-up failed
    ("exit", status, seconds, max_rss)  from here: the whole process tree is gone
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import gc
import marshal
import os
import select
import time

from buildkit_py.sandbox import init
from buildkit_py.sandbox.failure import SetupFailure
from buildkit_py.sandbox.ground import SIGKILL, Host
from buildkit_py.sandbox.program import host_interpreters
from buildkit_py.sandbox.request import PREPARE, USUAL, Request, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Running:
    __slots__ = ("channel", "pid", "pidfd", "started")

    def __init__(self, pid: int, pidfd: int, channel: int, started: float) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel
        self.started = started


class _Waiting:
    """A process that waits for its spec on the other end of `requests`."""

    __slots__ = ("pid", "pidfd", "requests")

    def __init__(self, pid: int, pidfd: int, requests: _socket.socket) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.requests = requests


class _Server:
    """The sandboxes of one builder: those that run, and the one that was prepared for the next usual spec."""

    def __init__(self, poll: Any) -> None:
        self._host = Host(os.pidfd_open(os.getpid()), host_interpreters())
        self._poll = poll
        self._running: dict[int, _Running] = {}
        self._next: _Waiting | None = None

    def prepare(self) -> None:
        """Fork a process that waits for its spec, if there is none. It is no failure if that cannot be."""
        if self._next is None:
            try:
                self._next = _Waiting(*init.prepare(self._host))
            except (OSError, SetupFailure):
                return  # whoever wants a sandbox is told
            self._poll.register(self._next.pidfd, select.POLLIN)

    def start(self, request: Request, *, usual: bool) -> None:
        """Start a sandbox; what it comes to is told on its channel."""
        child = None
        try:
            started = time.monotonic()
            pid, pidfd = (self._hand_over(request) if usual else None) or self._spawn(request)
            child = self._running[pidfd] = _Running(pid, pidfd, request.channel, started)
            self._poll.register(pidfd, select.POLLIN)
            # A copy goes over the socket: the builder signals the process itself, whatever state this one is in.
            sock = _socket.socket(fileno=os.dup(request.channel))
            send(sock, marshal.dumps(("pid", pid)), [pidfd])
            sock.close()
        except SetupFailure as failure:
            _tell(request.channel, ("error", failure.stage, failure.errno, failure.subject))
        except OSError as error:
            if child is None:
                _tell(request.channel, ("error", "make the sandbox's namespaces", error.errno or 0, ""))
        finally:
            request.close()
            if child is None:
                os.close(request.channel)

    def _spawn(self, request: Request) -> tuple[int, int]:
        return init.spawn(request.spec(), self._host, request.channel, request.stdio)

    def _hand_over(self, request: Request) -> tuple[int, int] | None:
        """Give a request to the process that waits for one: its id and pidfd; None if there is none, or it is dead."""
        waiting, self._next = self._next, None
        if waiting is None:
            return None
        self._poll.unregister(waiting.pidfd)
        try:
            if not _has_ended(waiting.pidfd):
                request.pass_on(waiting.requests)
                return waiting.pid, waiting.pidfd
        except OSError:
            pass  # it has closed its end, and so is ending
        finally:
            waiting.requests.close()
        os.waitpid(waiting.pid, 0)
        os.close(waiting.pidfd)
        return None

    def ended(self, pidfd: int) -> None:
        """Take note that a process has ended."""
        self._poll.unregister(pidfd)
        child = self._running.pop(pidfd, None)
        if child is not None:
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - child.started
            _tell(child.channel, ("exit", status, seconds, usage.ru_maxrss * 1024))
            os.close(child.channel)
        elif self._next is not None:
            os.waitpid(self._next.pid, 0)
            self._next.requests.close()
            self._next = None
        os.close(pidfd)

    def end(self) -> None:
        """Kill everything, and wait until it is gone."""
        children: list[_Running | _Waiting] = list(self._running.values())
        if self._next is not None:
            children.append(self._next)
        for child in children:
            try:
                _signal.pidfd_send_signal(child.pidfd, SIGKILL)
            except ProcessLookupError:
                pass
        for child in children:
            os.waitpid(child.pid, 0)


def serve(control: int, parent: int) -> None:
    """Handle requests from the socket `control` until it closes or the process `parent` ends."""
    import resource  # noqa: F401  # what wait4 answers with: loaded now, when nobody waits for it

    gc.disable()
    gc.freeze()
    try:
        parent_pidfd = os.pidfd_open(parent)
    except ProcessLookupError:
        return
    if os.getppid() != parent:
        return
    sock = _socket.socket(fileno=control)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(parent_pidfd, select.POLLIN)
    server = _Server(poll)
    while True:
        for fd, _ in poll.poll():
            if fd == parent_pidfd:
                return server.end()
            if fd != control:
                server.ended(fd)
                continue
            kind, descriptors = receive(sock)
            if kind == PREPARE:
                server.prepare()
            elif descriptors:
                server.start(Request(descriptors), usual=kind == USUAL)
            else:
                return server.end()
            break  # what else was ready may be gone by now, and its number another's


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _tell(channel: int, message: tuple[object, ...]) -> None:
    try:
        os.write(channel, marshal.dumps(message))  # type: ignore[arg-type]
    except OSError:
        pass  # the builder has let go of this sandbox
