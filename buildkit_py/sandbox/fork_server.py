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
from buildkit_py.sandbox.request import CONNECT, ISOLATED, PREPARE, USUAL, Request, read_all, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.sandbox.network.pool import Namespace, Pool


class _Running:
    """A sandbox. `network` is the number of its namespace of the pool, 0 for none."""

    __slots__ = ("channel", "network", "pid", "pidfd", "reusable", "started")

    def __init__(self, pid: int, pidfd: int, channel: int, started: float, network: int, reusable: bool) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel
        self.started = started
        self.network = network
        self.reusable = reusable


class _Waiting:
    """A process that waits for its spec on the other end of `requests`; `network` as for a sandbox."""

    __slots__ = ("network", "pid", "pidfd", "requests")

    def __init__(self, pid: int, pidfd: int, requests: _socket.socket, network: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.requests = requests
        self.network = network


class _Server:
    """The sandboxes of one builder: those that run, and the one that was prepared for the next usual spec."""

    def __init__(self, poll: Any) -> None:
        self._host = Host(os.pidfd_open(os.getpid()), host_interpreters())
        self._poll = poll
        self._running: dict[int, _Running] = {}
        self._next: _Waiting | None = None
        self._pool: Pool | None = None
        # What waits for a namespace of the pool: requests and whether they are usual, and a sandbox to be prepared.
        self._pending: list[tuple[Request, bool]] = []
        self._wanted = False

    def connect(self, plan: bytes) -> int:
        """Start the keeper of the isolated network: the descriptor to watch for `heard`, -1 if there is none.

        It is no failure if that cannot be.
        """
        if self._pool is None:
            from buildkit_py.sandbox.network.pool import Pool

            try:
                self._pool = Pool(plan, self._host)
            except OSError:
                return -1  # whoever wants a sandbox on it is told
            self._poll.register(self._pool, select.POLLIN)
        return self._pool.fileno()

    def heard(self) -> None:
        """The keeper has something to say: what waited for it goes on."""
        assert self._pool is not None
        self._pool.receive()
        if self._pool.failed:
            self._poll.unregister(self._pool)
        pending, self._pending = self._pending, []
        for request, usual in pending:
            self.start(request, usual=usual, isolated=True)
        if self._wanted:
            self._wanted = False
            self.prepare(isolated=True)

    def prepare(self, *, isolated: bool) -> None:
        """Fork a process that waits for its spec, if there is none. It is no failure if that cannot be."""
        if self._next is not None:
            return
        try:
            namespace = self._take() if isolated else None
            if isolated and namespace is None:
                self._wanted = True
                return
        except SetupFailure:
            return
        number = 0
        try:
            if namespace is None:
                self._next = _Waiting(*init.prepare(self._host), 0)
            else:
                number = namespace.number
                self._next = _Waiting(*init.prepare(self._host, namespace.fd), number)
        except (OSError, SetupFailure):
            self._give_back(number, reusable=True)
            return  # whoever wants a sandbox is told
        finally:
            if namespace is not None:
                os.close(namespace.fd)
        self._poll.register(self._next.pidfd, select.POLLIN)

    def start(self, request: Request, *, usual: bool, isolated: bool) -> None:
        """Start a sandbox, as soon as it can have its network; what it comes to is told on its channel."""
        child = None
        number = 0
        waits = False
        try:
            started = time.monotonic()
            ready = self._hand_over(request, isolated) if usual else None
            if ready is None:
                namespace = self._take() if isolated else None
                if isolated and namespace is None:
                    waits = True
                    self._pending.append((request, usual))
                    return
                if namespace is not None:
                    number = namespace.number
                ready = self._spawn(request, namespace)
            pid, pidfd, number = ready
            child = self._running[pidfd] = _Running(pid, pidfd, request.channel, started, number, usual)
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
            if not waits:
                request.close()
                if child is None:
                    os.close(request.channel)
                    self._give_back(number, reusable=True)

    def _take(self) -> Namespace | None:
        """A namespace of the pool; None if one has to be waited for. Raises `SetupFailure`."""
        if self._pool is None:
            from buildkit_py.sandbox.network.pool import NO_NETWORK

            raise SetupFailure(NO_NETWORK, 0, "the kernel gives no process for it")
        namespace = self._pool.take()
        self._pool.refill()
        return namespace

    def _give_back(self, number: int, *, reusable: bool) -> None:
        if number and self._pool is not None:
            self._pool.give_back(number, reusable=reusable)

    def _spawn(self, request: Request, namespace: Namespace | None) -> tuple[int, int, int]:
        if namespace is None:
            return *init.spawn(request.spec(), self._host, request.channel, request.stdio), 0
        try:
            child = init.spawn(request.spec(), self._host, request.channel, request.stdio, namespace.fd)
            return *child, namespace.number
        finally:
            os.close(namespace.fd)

    def _hand_over(self, request: Request, isolated: bool) -> tuple[int, int, int] | None:
        """Give a request to the process that waits for one: its id, pidfd and network.

        None if there is none, it is dead, or it is on another network.
        """
        waiting = self._next
        if waiting is None or isolated != (waiting.network != 0):
            return None
        self._next = None
        self._poll.unregister(waiting.pidfd)
        try:
            if not _has_ended(waiting.pidfd):
                request.pass_on(waiting.requests)
                return waiting.pid, waiting.pidfd, waiting.network
        except OSError:
            pass  # it has closed its end, and so is ending
        finally:
            waiting.requests.close()
        os.waitpid(waiting.pid, 0)
        os.close(waiting.pidfd)
        self._give_back(waiting.network, reusable=True)
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
            self._give_back(child.network, reusable=child.reusable)
        elif self._next is not None:
            os.waitpid(self._next.pid, 0)
            self._next.requests.close()
            self._give_back(self._next.network, reusable=True)
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
        if self._pool is not None:
            self._pool.close()


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
    keeper = -1
    while True:
        for fd, _ in poll.poll():
            if fd == parent_pidfd:
                return server.end()
            if fd == keeper:
                server.heard()
                continue
            if fd != control:
                server.ended(fd)
                continue
            kind, descriptors = receive(sock)
            isolated = kind.endswith(ISOLATED)
            kind = kind.removesuffix(ISOLATED)
            if kind == PREPARE:
                server.prepare(isolated=isolated)
            elif kind == CONNECT and descriptors:
                keeper = server.connect(read_all(descriptors[0]))
                os.close(descriptors[0])
            elif descriptors:
                server.start(Request(descriptors), usual=kind == USUAL, isolated=isolated)
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
