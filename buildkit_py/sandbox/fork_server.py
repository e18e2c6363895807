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
from buildkit_py.sandbox.begin import begin
from buildkit_py.sandbox.failure import NO_NAMESPACES, NO_NETWORK, SetupFailure
from buildkit_py.sandbox.host import SIGKILL, Host
from buildkit_py.sandbox.mount_table import MountTable
from buildkit_py.sandbox.pidfds import has_ended
from buildkit_py.sandbox.request import (
    AT,
    CONNECT,
    ISOLATED,
    JOIN,
    PREPARE,
    REST,
    USUAL,
    Request,
    read_all,
    receive,
    send,
)
from buildkit_py.sandbox.spec import DEFAULT_CAPABILITIES, Outline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.sandbox.network.pool import Namespace, Pool


class _Running:
    """A sandbox, with its namespace of the pool if it is on the isolated network."""

    __slots__ = ("channel", "namespace", "pid", "pidfd", "reusable", "started")

    def __init__(
        self, pid: int, pidfd: int, namespace: Namespace | None, channel: int, started: float, reusable: bool
    ) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.namespace = namespace
        self.channel = channel
        self.started = started
        self.reusable = reusable


class _Waiting:
    """A process that waits for its spec on the other end of `requests`; its namespace as for a sandbox.

    `mounts` is what its mount table is a copy of.
    """

    __slots__ = ("mounts", "namespace", "pid", "pidfd", "requests")

    def __init__(
        self, mounts: MountTable, pid: int, pidfd: int, requests: _socket.socket, namespace: Namespace | None
    ) -> None:
        self.mounts = mounts
        self.pid = pid
        self.pidfd = pidfd
        self.requests = requests
        self.namespace = namespace

    def let_go(self) -> None:
        """It gets no spec any more."""
        self.requests.close()
        self.mounts.close()

    def end(self) -> None:
        """Kill it; others that wait have the socket as well, so it would not notice that nobody sends. When this
        returns it is gone.
        """
        _signal.pidfd_send_signal(self.pidfd, SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)


class _Server:
    """The sandboxes of one builder: those that run, and those that were prepared for the next usual specs."""

    def __init__(self, poll: Any) -> None:
        self._host = Host(os.pidfd_open(os.getpid()))
        self._host.look_around()
        self._poll = poll
        self._running: dict[int, _Running] = {}
        self._waiting: list[_Waiting] = []
        self._plan = b""
        self._pool: Pool | None = None
        self._resting = False
        self._ending: dict[int, Pool] = {}
        # What waits for a namespace of the pool: requests, whether they are usual, and the number that they want, and
        # sandboxes to be prepared until there are so many.
        self._pending: list[tuple[Request, bool, int]] = []
        self._wanted = 0

    @property
    def keeper(self) -> int:
        """The descriptor to watch for `heard`, -1 for none."""
        return self._pool.fileno() if self._pool is not None else -1

    def connect(self, plan: bytes) -> None:
        """Start the keeper of the isolated network. It is no failure if that cannot be."""
        self._plan = plan
        if self._pool is None:
            from buildkit_py.sandbox.network.pool import Pool

            try:
                self._pool = Pool(plan, self._host)
            except OSError:
                return  # whoever wants a sandbox on it is told
            self._poll.register(self._pool, select.POLLIN)

    def stay(self) -> None:
        """The isolated network is wanted again."""
        self._resting = False

    def rest(self) -> None:
        """Let go of the isolated network as soon as no sandbox is on it."""
        self._resting = True
        self._wanted = 0
        self._let_go()

    def _let_go(self) -> None:
        if not self._resting or self._pool is None or self._pending:
            return
        if any(child.namespace is not None for child in self._running.values()):
            return
        for waiting in self._on_network(isolated=True):
            self._waiting.remove(waiting)
            self._poll.unregister(waiting.pidfd)
            waiting.let_go()
            waiting.end()
        pool, self._pool = self._pool, None
        if not pool.failed:
            self._poll.unregister(pool)
        pidfd = pool.kill()
        self._ending[pidfd] = pool
        self._poll.register(pidfd, select.POLLIN)

    def heard(self) -> None:
        """The keeper has something to say: what waited for it goes on."""
        assert self._pool is not None
        self._pool.receive()
        if self._pool.failed:
            self._poll.unregister(self._pool)
        pending, self._pending = self._pending, []
        for request, usual, number in pending:
            self.start(request, usual=usual, isolated=True, number=number)
        wanted, self._wanted = self._wanted, 0
        self.prepare(wanted, isolated=True)

    def _on_network(self, *, isolated: bool) -> list[_Waiting]:
        return [waiting for waiting in self._waiting if isolated == (waiting.namespace is not None)]

    def prepare(self, count: int, *, isolated: bool) -> None:
        """Fork processes that wait for their specs, until there are so many. It is no failure if that cannot be."""
        for _ in range(count - len(self._on_network(isolated=isolated))):
            # With pending requests it would have their descriptors as well, and keep open what others wait for the
            # end of.
            if self._pending or not self._prepare_one(isolated=isolated):
                self._wanted = max(self._wanted, count) if isolated else self._wanted
                return

    def _prepare_one(self, *, isolated: bool) -> bool:
        """Fork a process that waits for its spec; False if a namespace has to be waited for first."""
        namespace = None
        try:
            namespace = self._take() if isolated else None
            if isolated and namespace is None:
                return False
            self._host.ready_filter(DEFAULT_CAPABILITIES)  # read once, here
            outline = Outline("isolated" if isolated else "host")
            mounts = MountTable()
            prepared = begin(self._host, outline, network=namespace.fd if namespace is not None else -1)
        except (OSError, SetupFailure):
            if namespace is not None:
                namespace.give_back(reusable=True)
            return True  # whoever wants a sandbox is told
        finally:
            if namespace is not None:
                os.close(namespace.fd)
        self._waiting.append(waiting := _Waiting(mounts, *prepared, namespace))
        self._poll.register(waiting.pidfd, select.POLLIN)
        return True

    def start(self, request: Request, *, usual: bool, isolated: bool, number: int = 0) -> None:
        """Start a sandbox, as soon as it can have its network; what it comes to is told on its channel.

        `number` as of a spec.
        """
        child = None
        namespace = None
        waits = False
        try:
            started = time.monotonic()
            ready = self._hand_over(request, isolated) if usual else None
            if ready is None:
                namespace = self._take(number) if isolated else None
                if isolated and namespace is None:
                    waits = True
                    self._pending.append((request, usual, number))
                    return
                ready = self._spawn(request, namespace)
            child = _Running(*ready, request.channel, started, usual)
            self._began(child)
        except SetupFailure as failure:
            _tell(request.channel, ("error", failure.stage, failure.errno, failure.subject))
        except OSError as error:
            if child is None:
                _tell(request.channel, ("error", NO_NAMESPACES, error.errno or 0, ""))
        finally:
            if not waits:
                request.close()
                if child is None:
                    os.close(request.channel)
                    if namespace is not None:
                        namespace.give_back(reusable=True)

    def join(self, request: Request, target: int) -> None:
        """Start a command in the sandbox whose first process `target` is the pidfd of; tell of it as of a sandbox."""
        from buildkit_py.sandbox.join import Joiner

        child = None
        try:
            started = time.monotonic()
            pid, pidfd = Joiner(target, self._host).begin(request.spec(), request.channel, request.stdio)
            child = _Running(pid, pidfd, None, request.channel, started, False)
            self._began(child)
        except SetupFailure as failure:
            _tell(request.channel, ("error", failure.stage, failure.errno, failure.subject))
        except OSError as error:
            if child is None:
                _tell(request.channel, ("error", "start a process in the container", error.errno or 0, ""))
        finally:
            request.close()
            os.close(target)
            if child is None:
                os.close(request.channel)

    def _began(self, child: _Running) -> None:
        """Look after a process from now on, and say which it is. Raises `OSError` where nobody hears it."""
        self._running[child.pidfd] = child
        self._poll.register(child.pidfd, select.POLLIN)
        # A copy goes over the socket: the builder signals the process itself, whatever state this one is in.
        sock = _socket.socket(fileno=os.dup(child.channel))
        send(sock, marshal.dumps(("pid", child.pid)), [child.pidfd])
        sock.close()

    def _take(self, number: int = 0) -> Namespace | None:
        """A namespace of the pool; None if one has to be waited for. Raises `SetupFailure`."""
        if self._pool is None and self._plan:
            self.connect(self._plan)
        if self._pool is None:
            raise SetupFailure(NO_NETWORK, 0, "the kernel gives no process for it")
        namespace = self._pool.take(number)
        if not number:
            self._pool.refill()
        return namespace

    def _spawn(self, request: Request, namespace: Namespace | None) -> tuple[int, int, Namespace | None]:
        fd = namespace.fd if namespace is not None else -1
        try:
            return *init.spawn(request.spec(), self._host, request.channel, request.stdio, fd), namespace
        finally:
            if fd >= 0:
                os.close(fd)

    def _hand_over(self, request: Request, isolated: bool) -> tuple[int, int, Namespace | None] | None:
        """Give a request to a process that waits for one: its id, pidfd and namespace.

        None if there is none on that network, or those are dead.
        """
        for waiting in self._on_network(isolated=isolated):
            self._waiting.remove(waiting)
            self._poll.unregister(waiting.pidfd)
            try:
                if not has_ended(waiting.pidfd) and not waiting.mounts.has_changed():
                    request.pass_on(waiting.requests)
                    return waiting.pid, waiting.pidfd, waiting.namespace
            except OSError:
                pass  # it has closed its end, and so is ending
            finally:
                waiting.let_go()
            waiting.end()
            if waiting.namespace is not None:
                waiting.namespace.give_back(reusable=True)
        return None

    def ended(self, pidfd: int) -> None:
        """Take note that a process has ended."""
        self._poll.unregister(pidfd)
        if pidfd in self._ending:
            self._ending.pop(pidfd).wait_for_end()
            return
        child = self._running.pop(pidfd, None)
        if child is not None:
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - child.started
            _tell(child.channel, ("exit", status, seconds, usage.ru_maxrss * 1024))
            os.close(child.channel)
            if child.namespace is not None:
                child.namespace.give_back(reusable=child.reusable)
                self._let_go()
        for waiting in [one for one in self._waiting if one.pidfd == pidfd]:
            self._waiting.remove(waiting)
            os.waitpid(waiting.pid, 0)
            waiting.let_go()
            if waiting.namespace is not None:
                waiting.namespace.give_back(reusable=True)
        os.close(pidfd)

    def end(self) -> None:
        """Kill everything, and wait until all sandboxes are gone."""
        children: list[_Running | _Waiting] = [*self._running.values(), *self._waiting]
        for child in children:
            try:
                _signal.pidfd_send_signal(child.pidfd, SIGKILL)
            except ProcessLookupError:
                pass
        if self._pool is not None:
            self._pool.kill()  # not waited for: the kernel takes 30 ms to take a network apart, and no file is in use
        # A sandbox is gone only when all in it are waited for, those that joined it, too: they came later.
        for child in reversed(children):
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
        # Only the first of those that are ready: what else was may be gone then, and its number another's.
        fd, _ = poll.poll()[0]
        if fd == parent_pidfd:
            return server.end()
        if fd == server.keeper:
            server.heard()
            continue
        if fd != control:
            server.ended(fd)
            continue
        kind, descriptors = receive(sock)
        kind, _, number = kind.partition(AT)
        isolated = kind.endswith(ISOLATED)
        kind = kind.removesuffix(ISOLATED)
        if isolated:
            server.stay()
        if kind == PREPARE:
            server.prepare(int(number or 1), isolated=isolated)
        elif kind == REST:
            server.rest()
        elif kind == CONNECT and descriptors:
            server.connect(read_all(descriptors[0]))
            os.close(descriptors[0])
        elif kind == JOIN and descriptors:
            server.join(Request(descriptors[1:]), descriptors[0])
        elif descriptors:
            server.start(Request(descriptors), usual=kind == USUAL, isolated=isolated, number=int(number or 0))
        else:
            return server.end()


def _tell(channel: int, message: tuple[object, ...]) -> None:
    try:
        os.write(channel, marshal.dumps(message))  # type: ignore[arg-type]
    except OSError:
        pass  # the builder has let go of this sandbox
