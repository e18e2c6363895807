"""The pool: namespaces that a keeper has ready, as the process that starts sandboxes sees them.

It hands one to each sandbox that wants the isolated network, and gives it
back when the sandbox has ended; one more than are in use lies ready. Those of
services are made when they are asked for, by their numbers.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import marshal
import os
import select
import sys

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import SetupFailure
from buildkit_py.sandbox.ground import SIG_SETMASK, SIGKILL, Host, follow_parent

NO_NETWORK = "an isolated network could not be made"
"""The stage of the `SetupFailure` for a sandbox that gets no network."""

_CONTROL = 3
_MESSAGE = 1 << 12


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

    Only for processes with one thread. Raises `OSError`.
    """

    def __init__(self, plan: bytes, host: Host) -> None:
        self._sock, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        try:
            self._pid, pidfd = syscalls.clone(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS)
        except OSError:
            self._sock.close()
            theirs.close()
            raise
        if self._pid == 0:
            try:
                _become_gate(theirs.fileno(), plan, host)
            finally:
                os._exit(1)
        self._pidfd = pidfd
        theirs.close()
        self._ready: list[Namespace] = []
        self._services: dict[int, Namespace | None] = {}  # those asked for, by number; None: not there yet
        self._latest: dict[int, Namespace | None] = {}  # of each service
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
            service = self._services.get(number)
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

    def hear(self) -> None:
        """Hear what the keeper has said so far."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while not self._failure and poll.poll(0):
            self.receive()

    def receive(self) -> None:
        """Hear what the keeper has to say; blocks until it says something."""
        try:
            data, ancillary, _, _ = self._sock.recvmsg(_MESSAGE, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        except OSError:
            data, ancillary = b"", []
        if not data:
            self._failure = self._failure or "the process that keeps it has ended"
            return
        message = marshal.loads(data)
        if message[0] == "failed":
            self._failure = message[1]
            return
        namespace = Namespace(self, message[1], int.from_bytes(ancillary[0][2], sys.byteorder))
        if message[0] == "service":
            self._services[namespace.number] = self._latest[namespace.number] = namespace
            return
        self._asked = False
        self._ready.append(namespace)

    @property
    def failed(self) -> bool:
        """Whether there is no more to hear."""
        return bool(self._failure)

    def close(self) -> None:
        """End keeper and gate, with all that they started; returns when they are gone."""
        self.kill()
        self.wait_for_end()

    def kill(self) -> int:
        """Begin to end them: a descriptor that is readable once they are gone."""
        self._sock.close()
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

    def say(self, message: tuple[object, ...]) -> None:
        """Send the keeper a message; nothing if it has ended."""
        try:
            self._sock.send(marshal.dumps(message))  # type: ignore[arg-type]
        except OSError:
            pass  # it has ended, which `receive` finds out


def _become_gate(control: int, plan: bytes, host: Host) -> None:
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

    serve(_CONTROL, Plan(*marshal.loads(plan)))
