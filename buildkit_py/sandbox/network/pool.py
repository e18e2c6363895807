"""The pool: namespaces that a keeper has ready, as the process that starts sandboxes sees them.

It hands one to each sandbox that wants the isolated network, and gives it
back when the sandbox has ended; one more than are in use lies ready. Those of
services are made when they are asked for, by their numbers.

A sandbox that is in a hurry may bring its own, and run in it before there is a
way out. What it sends waits for that (see `hub`), and who started it has to
watch for the case that there is none.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import marshal
import os
import sys

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.affinity import Others
from buildkit_py.sandbox.failure import NO_NETWORK, SetupFailure
from buildkit_py.sandbox.host import SIG_SETMASK, SIGKILL, Host, follow_parent
from buildkit_py.sandbox.network.plan import FIRST
from buildkit_py.sandbox.request import send
from buildkit_py.sandbox.unsignalled import Unsignalled

_CONTROL = 3
_MESSAGE = 1 << 12

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Namespace:
    """A network namespace for one sandbox: `fd` is its descriptor, which who took it closes.

    `number` is what its addresses are of (`Plan.address`).
    """

    __slots__ = ("_pool", "fd", "number")

    def __init__(self, pool: Pool, number: int, fd: int) -> None:
        self._pool = pool
        self.number = number
        self.fd = fd

    def give_back(self, *, reusable: bool) -> None:
        """The sandbox that had it has ended. `reusable`: nothing in it could change the network itself."""
        self._pool.take_back(self, reusable)


class Pool:
    """A keeper behind its gate, started for a marshalled plan.

    `awaits`: the first namespace is somebody else's, who is to `expect` it, and will come by `begin`. Only for
    processes with one thread. Raises `OSError`.
    """

    def __init__(self, plan: bytes, host: Host, *, awaits: bool = False) -> None:
        self._plan = plan
        self._sock, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        others = Others()
        try:
            with Unsignalled():
                self._pid, self._pidfd = syscalls.clone(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS)
                if self._pid == 0:
                    try:
                        _become_gate(theirs.fileno(), plan, host, awaits=awaits)
                    finally:
                        os._exit(1)
                others.send(self._pid)
        except OSError:
            self._sock.close()
            theirs.close()
            raise
        theirs.close()
        self._awaits = awaits
        self._kernel = -1  # a netlink socket in it, while there is no way out
        self._ready: list[Namespace] = []
        self._services: dict[int, Namespace | None] = {}  # those asked for, by number; None: not there yet
        self._latest: dict[int, Namespace | None] = {}  # of each service
        self._open = False
        self._failure = ""
        self._asked = True

    def fileno(self) -> int:
        """What is to be watched: `receive` is to be called when there is something to read."""
        return self._sock.fileno()

    def take(self, number: int = 0) -> Namespace | None:
        """A namespace that is ready, for one sandbox; None if one has to be waited for. Raises `SetupFailure`.

        With a `number`, from `plan.SERVICES` on, that of the service.
        """
        if self._failure:  # those that are ready lead nowhere any more
            raise SetupFailure(NO_NETWORK, 0, self._failure)
        if number:
            service = self._services.get(number) if self._open else None
            if service is not None:
                del self._services[number]
            elif number not in self._services:
                self._services[number] = self._latest[number] = None
                self.say(("service", number))
            return service
        if self._ready:
            return self._ready.pop()
        self._want()
        return None

    def take_back(self, namespace: Namespace, reusable: bool) -> None:
        """For `Namespace.give_back`. That of a service may have been replaced since by the next one's."""
        if self._latest.get(namespace.number, namespace) is namespace:
            self._latest.pop(namespace.number, None)
            self.say(("back", namespace.number, reusable))

    def refill(self) -> None:
        """Have another made if none lies ready: a sandbox may come before the others end."""
        if not self._ready and not self._failure:
            self._want()

    def wait(self, number: int = 0) -> Namespace:
        """As `take`, as soon as there is one. Raises `SetupFailure`."""
        while True:
            namespace = self.take(number)
            if namespace is not None:
                return namespace
            self.receive()

    @property
    def awaits(self) -> bool:
        """Whether the first namespace is still to come."""
        return self._awaits

    def expect(self) -> Namespace:
        """The first namespace, with which somebody is going to `begin`."""
        self._awaits = False
        return Namespace(self, FIRST, -1)

    def begin(self, namespace: int, writer: int) -> None:
        """Have an empty namespace, which a sandbox was begun in, be the first; both descriptors stay the caller's.

        Once its interface is there, a byte is written to `writer`; if that is closed before, there will be none. For
        its way out see `settle`. A process that was forked by the pool's may say so as well.
        """
        self.say(("first",), [namespace, writer])

    def settle(self, *, connected: bool) -> None:
        """The sandbox that had the first one has ended. If it was `connected`, and something that was sent in it waits
        for the way out, wait for that, too. Raises `SetupFailure` if there is none.
        """
        self.hear()
        while connected and self._kernel < 0 and not self._open and not self._failure:
            self.receive()  # what was said before it was connected
        if connected and not self._open and not self._failure and self._is_waited_for():
            while not self._open and not self._failure:
                self.receive()
        if self._failure and not self._open:
            raise SetupFailure(NO_NETWORK, 0, self._failure)

    def _is_waited_for(self) -> bool:
        from buildkit_py.sandbox.network.backlog import waits_for
        from buildkit_py.sandbox.network.plan import HUB, Plan

        plan = Plan(*marshal.loads(self._plan))
        return waits_for(self._kernel, (plan.address(HUB), plan.ipv6_address(HUB)))

    def hear(self) -> None:
        """Hear what the keeper has said so far. A signal handler may do so, too, in the midst of it."""
        try:
            while not self._failure:
                self._receive(_socket.MSG_DONTWAIT)
        except BlockingIOError:
            return

    def receive(self) -> None:
        """Hear what the keeper has to say; blocks until it says something."""
        self._receive(0)

    def _receive(self, flags: int) -> None:
        flags |= _socket.MSG_CMSG_CLOEXEC
        try:
            data, ancillary, _, _ = self._sock.recvmsg(_MESSAGE, _socket.CMSG_SPACE(12), flags)
        except BlockingIOError:
            raise
        except OSError:
            data, ancillary = b"", []
        if not data:
            self._failure = self._failure or "the process that keeps it has ended"
            return
        rights = ancillary[0][2] if ancillary else b""
        descriptors = [int.from_bytes(rights[i : i + 4], sys.byteorder) for i in range(0, len(rights), 4)]
        match marshal.loads(data):
            case ("failed", text):
                self._failure = text
            case ("begun",):
                (self._kernel,) = descriptors
            case ("open",):
                self._open = True
                if self._kernel >= 0:
                    self._asked = False
                    os.close(self._kernel)
                    self._kernel = -1
            case ("service", number):
                self._services[number] = self._latest[number] = Namespace(self, number, *descriptors)
            case ("namespace", number):
                self._asked = False
                self._ready.append(Namespace(self, number, *descriptors))

    @property
    def failed(self) -> bool:
        """Whether there is no more to hear."""
        return bool(self._failure)

    @property
    def is_open(self) -> bool:
        """Whether there is a way out, as far as was heard."""
        return self._open

    def close(self) -> None:
        """End keeper and gate, with all that they started; returns when they are gone."""
        self.kill()
        self.wait_for_end()

    def kill(self) -> int:
        """Begin to end them: a descriptor that is readable once they are gone."""
        self._sock.close()
        if self._kernel >= 0:
            os.close(self._kernel)
        for namespace in (*self._ready, *self._services.values()):
            if namespace is not None:
                os.close(namespace.fd)
        try:
            _signal.pidfd_send_signal(self._pidfd, SIGKILL)
        except ProcessLookupError:
            pass
        return self._pidfd

    def wait_for_end(self) -> None:
        """Block until what `kill` began has come to pass."""
        os.waitpid(self._pid, 0)
        os.close(self._pidfd)

    def _want(self) -> None:
        if not self._asked:
            self._asked = True
            self.say(("more",))

    def say(self, message: tuple[object, ...], descriptors: Sequence[int] = ()) -> None:
        """Send the keeper a message; nothing if it has ended."""
        try:
            send(self._sock, marshal.dumps(message), list(descriptors))  # type: ignore[arg-type]
        except OSError:
            pass  # it has ended, which `receive` finds out


def _become_gate(control: int, plan: bytes, host: Host, *, awaits: bool) -> None:
    """In the child: nothing of who forked it but the socket, and dead when that process is."""
    follow_parent(host)
    os.setsid()  # Ctrl-C in a terminal is not for it
    for number in host.handled:
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(SIG_SETMASK, ())
    os.dup2(control, _CONTROL)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    syscalls.close_from(_CONTROL + 1, on_exec=False)
    from buildkit_py.sandbox.network.gate import serve
    from buildkit_py.sandbox.network.plan import Plan

    serve(_CONTROL, Plan(*marshal.loads(plan)), awaits=awaits)
