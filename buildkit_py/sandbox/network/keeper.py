"""The keeper: the process that is in the hub, and has network namespaces ready for the sandboxes of one builder.

Namespaces are made while nobody waits. Who is in a hurry brings the first one,
empty, and can use the time until it is connected, which a byte in a pipe says.
The gate forks the keeper and gives it a way out. To those who start sandboxes
(`pool`) it speaks by marshalled tuples:

    ("first",)                     to here, from who is in a hurry: its descriptor, and the pipe's
    ("begun",)                     from here: a socket in that one to ask the kernel by
    ("open",)                      from here: there is a way out, and what was begun is ready
    ("namespace", number)          from here, with its descriptor: it is ready
    ("service", number)            from here, the same of a service
    ("failed", text)               from here: there is none and will be none
    ("more",)                      to here: another will be wanted
    ("service", number)            to here: that of a service is wanted, with the addresses of `number`
    ("back", number, reusable)     to here: its sandbox has ended
"""

from __future__ import annotations

import _socket
import marshal
import os
import select
import sys

from buildkit_py.sandbox.network.plan import FIRST, SERVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from buildkit_py.sandbox.network.hub import Addresses, Connected, Hub
    from buildkit_py.sandbox.network.plan import Plan

_MESSAGE = 1 << 12
_IN = 1  # POLLIN


def keep(control: int, gate: _socket.socket, plan: Plan, mtu: int, *, awaits: bool) -> NoReturn:
    """Be the keeper, until the socket `control` closes. For a process with one thread.

    The first sandbox's network is one that comes over `control`, if it `awaits` that, else the one that the process is
    in. `mtu` is that of the way out which is tried first. For the messages to `gate` see there.
    """
    pool = _socket.socket(fileno=control)
    try:
        from buildkit_py.sandbox.network.hub import Connected, Hub, here
        from buildkit_py.sandbox.network.uplink import call_oneself

        call_oneself("pybuild-keeper")
        first = None if awaits else Connected(here())
        hub = Hub(plan, mtu)
        # Who has brought it already is waiting. Else the way out gets ready meanwhile.
        if first is None and _has_come(pool):
            first = _receive_first(pool, hub)
        _tell(gate, ("hub",), [hub.namespace])
        if first is None:
            first = _receive_first(pool, hub)
        hub.furnish()
        if not awaits:
            hub.attach(FIRST, first)
        hub.join(FIRST)
    except OSError as error:
        _tell(pool, ("failed", _words(error)), [])
        os._exit(1)
    _Keeper(pool, gate, plan, hub, {FIRST: first}, begun=awaits).serve()
    os._exit(0)


def _has_come(pool: _socket.socket) -> bool:
    poll = select.poll()
    poll.register(pool.fileno(), _IN)
    return bool(poll.poll(0))


def _receive_first(pool: _socket.socket, hub: Hub) -> Connected:
    """Connect the first namespace as soon as it comes, before all else, and say so. Raises `OSError`."""
    _, ancillary, _, _ = pool.recvmsg(_MESSAGE, _socket.CMSG_SPACE(8), _socket.MSG_CMSG_CLOEXEC)
    if not ancillary:
        os._exit(0)  # nobody is there any more
    rights = ancillary[0][2]
    namespace, writer = [int.from_bytes(rights[i : i + 4], sys.byteorder) for i in (0, 4)]
    # A socket in it for who asked. Of its own: two that ask the kernel by one would read each other's answers.
    first, kernel = hub.adopt(namespace)
    _tell(pool, ("begun",), [kernel.fileno()])
    kernel.close()
    hub.attach(FIRST, first)
    try:
        os.write(writer, b".")
    except BrokenPipeError:
        pass  # its sandbox has ended
    os.close(writer)
    return first


def _words(error: OSError) -> str:
    return f"the hub: {error.strerror} {error.filename or ''}".rstrip()


def _tell(sock: _socket.socket, message: tuple[object, ...], descriptors: list[int]) -> None:
    data = marshal.dumps(message)  # type: ignore[arg-type]
    rights = b"".join([fd.to_bytes(4, sys.byteorder) for fd in descriptors])
    try:
        sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if rights else [])
    except OSError:
        os._exit(0)  # the one who wanted it is gone


class _Keeper:
    """`connected` are all namespaces by their numbers; so far there is one, which nobody has."""

    def __init__(
        self,
        pool: _socket.socket,
        gate: _socket.socket,
        plan: Plan,
        hub: Hub,
        connected: dict[int, Connected],
        *,
        begun: bool,
    ) -> None:
        self._pool = pool
        self._gate = gate
        self._plan = plan
        self._hub = hub
        self._connected = connected
        self._begun = begun  # that somebody has the first one
        self._last = FIRST

    def serve(self) -> None:
        """Do what is asked for, until nobody is left to ask."""
        poll = select.poll()
        for sock in (self._pool, self._gate):
            poll.register(sock.fileno(), _IN)
        while True:
            for fd, _ in poll.poll():
                try:
                    data = (self._pool if fd == self._pool.fileno() else self._gate).recv(_MESSAGE)
                except OSError:
                    return
                if not data:
                    return
                self._obey(marshal.loads(data))

    def _obey(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("more",):
                self._offer()
            case ("service", number):
                if number in self._connected:  # that of the one before, whose end is not told yet
                    self._hub.disconnect(number, self._connected.pop(number))
                self._connect(number)
            case ("back", number, reusable):
                self._take_back(number, reusable)
            case ("open", addresses, mtu, ipv6):
                self._open(addresses, mtu, ipv6)
            case ("ended", text):
                _tell(self._pool, ("failed", text), [])

    def _open(self, addresses: Addresses, mtu: int, ipv6: bool) -> None:
        """There is a way out."""
        try:
            if self._plan.relayed:  # before somebody asks
                from buildkit_py.sandbox.network import relay

                listening = [sock.detach() for sock in relay.listen(self._plan.gateway)]
                _tell(self._gate, ("listening",), listening)
                for fd in listening:
                    os.close(fd)
            self._hub.open(addresses, mtu, ipv6=ipv6)
            for number, connected in self._connected.items():
                self._hub.let_out(number, connected)
        except (OSError, KeyError) as error:
            _tell(self._pool, ("failed", _words(error) if isinstance(error, OSError) else "the way out is gone"), [])
            os._exit(1)
        _tell(self._pool, ("open",), [])
        if not self._begun:
            _tell(self._pool, ("namespace", FIRST), [self._connected[FIRST].namespace])

    def _offer(self) -> None:
        """Connect a namespace that nobody had, under the addresses that were used the longest ago."""
        self._last = self._last + 1 if self._last < SERVICES - 1 else FIRST
        while self._last in self._connected:
            self._last = self._last + 1 if self._last < SERVICES - 1 else FIRST
        self._connect(self._last)

    def _connect(self, number: int) -> None:
        try:
            connected = self._connected[number] = self._hub.connect(number)
        except OSError as error:
            _tell(self._pool, ("failed", f"the kernel gives no network: {error.strerror}"), [])
            os._exit(1)
        _tell(self._pool, ("service" if number >= SERVICES else "namespace", number), [connected.namespace])

    def _take_back(self, number: int, reusable: bool) -> None:
        if number >= SERVICES:
            if (service := self._connected.pop(number, None)) is not None:
                self._hub.disconnect(number, service)
            return
        connected = self._connected[number]
        from buildkit_py.sandbox.network.namespace import State

        if reusable and State(connected.namespace, self._hub.namespace).is_as_new():
            _tell(self._pool, ("namespace", number), [connected.namespace])
            return
        del self._connected[number]
        self._hub.disconnect(number, connected)
        self._offer()
