"""The keeper: the process that is in the hub, and has network namespaces ready for the sandboxes of one builder.

Namespaces are made while nobody waits: a veth takes up to 10 ms of waiting in
the kernel. The gate forks it and gives it a way out. To those who start
sandboxes (`pool`) it speaks by marshalled tuples:

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

from buildkit_py.sandbox.network import relay
from buildkit_py.sandbox.network.hub import Hub
from buildkit_py.sandbox.network.namespace import State
from buildkit_py.sandbox.network.plan import SERVICES
from buildkit_py.sandbox.network.uplink import LARGEST_MTU, call_oneself

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from buildkit_py.sandbox.network.hub import Connected
    from buildkit_py.sandbox.network.plan import Plan

_FIRST = 2
_MESSAGE = 1 << 12
_IN = 1  # POLLIN


def keep(control: int, gate: _socket.socket, plan: Plan, uplink: str) -> NoReturn:
    """Be the keeper, until the socket `control` closes. For a process with one thread.

    For the messages to `gate` see there.
    """
    pool = _socket.socket(fileno=control)
    call_oneself("pybuild-keeper")
    try:
        hub = Hub(plan, plan.mtu if uplink == "bridge" else LARGEST_MTU)
        _tell(gate, ("hub",), [hub.namespace])
        hub.furnish()
        if plan.relayed:
            listening = [sock.detach() for sock in relay.listen(plan.gateway)]
            _tell(gate, ("listening",), listening)
            for fd in listening:
                os.close(fd)
        # Meanwhile the way out gets ready.
        connected = {_FIRST: hub.connect(_FIRST)}
    except OSError as error:
        _tell(gate, ("ended", _words(error)), [])
        os._exit(1)
    data = gate.recv(_MESSAGE)
    if not data:
        os._exit(0)
    try:
        hub.open(marshal.loads(data)[1])
    except (OSError, KeyError) as error:
        _tell(pool, ("failed", _words(error) if isinstance(error, OSError) else "the way out is gone"), [])
        os._exit(1)
    _Keeper(pool, gate, hub, connected).serve()
    os._exit(0)


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

    def __init__(self, pool: _socket.socket, gate: _socket.socket, hub: Hub, connected: dict[int, Connected]) -> None:
        self._pool = pool
        self._gate = gate
        self._hub = hub
        self._connected = connected
        self._last = _FIRST

    def serve(self) -> None:
        """Do what is asked for, until nobody is left to ask."""
        poll = select.poll()
        for sock in (self._pool, self._gate):
            poll.register(sock.fileno(), _IN)
        _tell(self._pool, ("namespace", _FIRST), [self._connected[_FIRST].namespace])
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
            case ("ended", text):
                _tell(self._pool, ("failed", text), [])

    def _offer(self) -> None:
        """Connect a namespace that nobody had, under the addresses that were used the longest ago."""
        self._last = self._last + 1 if self._last < SERVICES - 1 else _FIRST
        while self._last in self._connected:
            self._last = self._last + 1 if self._last < SERVICES - 1 else _FIRST
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
        if reusable and State(connected.namespace, self._hub.namespace).is_as_new():
            _tell(self._pool, ("namespace", number), [connected.namespace])
            return
        del self._connected[number]
        self._hub.disconnect(number, connected)
        self._offer()
