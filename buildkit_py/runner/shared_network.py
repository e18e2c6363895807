"""A shared network: the one process that has the hub of a project for as long as somebody is in it.

It is asked by a socket in the network's directory, as a supervisor is
(`runner/control.py`). Whoever connects is greeted with `("network", identity)`
and the pidfd of this process, so that an ordinary user's process can go to its
user namespace, to which the hub belongs. It may then ask for seats:

    ("sit", number)                        to here
    ("seat", (first, second), conf)        from here, with the descriptor of the network namespace of that number: the
                                           first bytes of all addresses, and the /etc/resolv.conf
    ("failed", text)                       from here: there is none

A connection that is closed gives its seats back. When the last one is, the
network ends; when it ends for another reason, all of them are closed.
"""

from __future__ import annotations

import marshal
import os
import select
import time

from buildkit_py.errors import SandboxError
from buildkit_py.runner import control
from buildkit_py.sandbox.failure import SetupFailure
from buildkit_py.sandbox.host import Host
from buildkit_py.sandbox.network.pool import Pool
from buildkit_py.sandbox.network.uplink import call_oneself
from buildkit_py.sandbox.userns import handed_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.sandbox.network.plan import Plan
    from buildkit_py.sandbox.network.pool import Namespace

# Seconds that nobody has to be in it before it ends: a service that is started again leaves for a moment.
_PATIENCE = 5.0


class SharedNetwork:
    """The network, at the socket in `directory`. Raises `SandboxError` and `OSError`; for a process with one thread."""

    def __init__(self, directory: str, plan: Plan) -> None:
        self._plan = plan
        self._host = Host(os.pidfd_open(os.getpid()))
        self._pool = Pool(marshal.dumps(plan.wire()), self._host)
        try:
            os.close(self._pool.wait().fd)  # it stands: this one is for nobody
        except SetupFailure as failure:
            self._pool.close()
            raise SandboxError(f"{failure.stage}: {failure.subject}") from failure
        self._server = control.listen(directory)
        self._poll = select.poll()
        self._poll.register(self._server.fileno(), select.POLLIN)
        self._poll.register(self._pool.fileno(), select.POLLIN)
        self._clients: dict[int, control.Socket] = {}
        self._seats: dict[int, list[Namespace]] = {}
        self._asking: list[tuple[int, int]] = []  # who asks for which number, and has to wait
        call_oneself("pybuild-network")

    def serve(self, ready: Callable[[], None]) -> None:
        """Serve until nobody has been in it for a while. `ready` is called once it is known who asks."""
        ready()
        left: float | None = time.monotonic() + _PATIENCE
        while not self._pool.failed:
            if self._clients:
                left = None
            elif left is None:
                left = time.monotonic() + _PATIENCE
            elif time.monotonic() >= left:
                break
            for fd, _ in self._poll.poll(None if left is None else max(0.0, left - time.monotonic()) * 1000 + 1):
                if fd == self._server.fileno():
                    self._accept()
                elif fd == self._pool.fileno():
                    self._pool.receive()
                    self._go_on()
                elif fd in self._clients:
                    self._request(fd)
        self._server.close()
        for fd in list(self._clients):
            self._forget(fd)
        self._pool.close()

    def _accept(self) -> None:
        try:
            fd, _ = self._server._accept()  # type: ignore[attr-defined]  # as `socket.accept` does it
        except OSError:
            return
        client = control.Socket(fileno=fd)
        self._clients[fd] = client
        self._poll.register(fd, select.POLLIN)
        try:
            control.send(client, "network", handed_on(), fd=self._host.parent)
        except OSError:
            self._forget(fd)

    def _request(self, fd: int) -> None:
        match control.receive(self._clients[fd]):
            case ("sit", int(number)):
                # The one before is not in it any more: a supervisor asks anew for each start.
                for namespace in self._seats.pop(fd, []):
                    namespace.give_back(reusable=False)
                self._asking.append((fd, number))
                self._go_on()
            case _:
                self._forget(fd)

    def _go_on(self) -> None:
        """Give out what is there of what was asked for."""
        asking, self._asking = self._asking, []
        for fd, number in asking:
            client = self._clients.get(fd)
            if client is None:
                continue
            try:
                namespace = self._pool.take(number)
                if namespace is None:
                    self._asking.append((fd, number))
                    continue
                self._seats.setdefault(fd, []).append(namespace)
                try:
                    control.send(client, "seat", self._plan.ipv4, self._plan.resolv_conf, fd=namespace.fd)
                finally:
                    os.close(namespace.fd)
            except SetupFailure as failure:
                try:
                    control.send(client, "failed", f"{failure.stage}: {failure.subject}")
                except OSError:
                    self._forget(fd)
            except OSError:
                self._forget(fd)

    def _forget(self, fd: int) -> None:
        # Nor is what it waits for anybody's: the next client may have the same descriptor.
        self._asking = [one for one in self._asking if one[0] != fd]
        client = self._clients.pop(fd, None)
        if client is not None:
            self._poll.unregister(fd)
            client.close()
        for namespace in self._seats.pop(fd, []):
            namespace.give_back(reusable=False)


class Seat:
    """A place in a shared network: the network namespace's descriptor, which who sits there closes, and what is known
    of the network.
    """

    __slots__ = ("fd", "ipv4", "resolv_conf")

    def __init__(self, fd: int, ipv4: tuple[int, int], resolv_conf: bytes) -> None:
        self.fd = fd
        self.ipv4 = ipv4
        self.resolv_conf = resolv_conf

    def address(self, number: int) -> str:
        """The IPv4 address of a member."""
        return ".".join([str(byte) for byte in (*self.ipv4, number >> 8, number & 255)])


def greeting(network: control.Socket) -> tuple[int, str]:
    """What a network says first: a pidfd of its process, and its identity. The descriptor is -1 where it has ended."""
    message, fd = control.receive_with(network)
    match message:
        case ("network", str(identity)) if fd >= 0:
            return fd, identity
    if fd >= 0:
        os.close(fd)
    return -1, ""


def sit(network: control.Socket, number: int) -> Seat:
    """The seat of a number in the network that is connected. Raises `SandboxError` where there is none."""
    try:
        control.send(network, "sit", number)
        message, fd = control.receive_with(network)
    except OSError:
        message, fd = (), -1
    match message:
        case ("seat", (int(first), int(second)), bytes(conf)) if fd >= 0:
            return Seat(fd, (first, second), conf)
        case ("failed", str(text)):
            raise SandboxError(text)
    raise SandboxError("the network of the project has ended")
