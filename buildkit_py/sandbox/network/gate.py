"""The gate: the process that stays in this machine's network while the keeper is in the hub, and lets it reach out.

It is the first process of a pid namespace: when it ends, whoever killed it,
so do the keeper and the programs that it started, and with the last process
the hub and all that is in it. It forks the keeper, gives the hub its way out
(where one fails, the next), and passes questions for names on. Two processes,
because an ordinary user's may enter the networks that are its own and never
come back.

Messages between the two are marshalled tuples:

    ("hub",)                         from the keeper: it is in the hub, whose namespace's descriptor comes along
    ("open", addresses, mtu, ipv6)   to the keeper: there is a way out, for packets of so many bytes, and for IPv6 or
                                     not; `addresses` are for its end, if it has none yet
    ("listening",)                   from the keeper, if names are to be relayed: the two sockets of `relay.listen`
    ("ended", text)                  to the keeper: there is no way out any more
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import marshal
import os
import select
import sys

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.network.uplink import LARGEST_MTU, UplinkFailed, call_oneself

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.sandbox.network.bridge import Bridge
    from buildkit_py.sandbox.network.hub import Addresses
    from buildkit_py.sandbox.network.plan import Plan
    from buildkit_py.sandbox.network.uplink import Program

_EXPIRY = 500  # milliseconds between looks at questions that nobody answered
_MESSAGE = 1 << 10
_IN = 1  # POLLIN
_SIGPIPE = 13


def serve(control: int, plan: Plan, *, awaits: bool) -> NoReturn:
    """Be the gate, and have a keeper that answers on the socket `control`, until that closes; `awaits` is for that.

    For a process that is the first of its pid namespace, with a mount namespace of its own.
    """
    _signal.signal(_SIGPIPE, _signal.SIG_IGN)
    failures = []
    try:
        if not plan.uplinks:
            raise UplinkFailed("there is no way out")
        gate = _Gate(control, plan, awaits=awaits)
        call_oneself("pybuild-gate")
        # What this machine unmounts goes from here, too: a gate may live as long as a service.
        syscalls.mount(None, b"/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
        for name in plan.uplinks:
            try:
                gate.open(name)
            except UplinkFailed as failure:
                failures.append(str(failure))
                continue
            os.close(control)
            gate.stay()
    except UplinkFailed as failure:
        failures.append(str(failure))
    except OSError as error:
        failures.append(f"{error.strerror} {error.filename or ''}".rstrip())
    os.write(control, marshal.dumps(("failed", "; ".join(failures))))
    os._exit(1)


class _Gate:
    """A keeper with a hub, in networks of their own. Raises `OSError`."""

    def __init__(self, control: int, plan: Plan, *, awaits: bool) -> None:
        self._plan = plan
        self._hub = -1
        self._uplink: Program | Bridge | None = None
        self._listening: list[int] = []
        name = plan.uplinks[0]
        first = _as_seen_by(name, plan)
        self._sock, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        keeper, self._pidfd = syscalls.clone(0 if awaits else syscalls.CLONE_NEWNET)
        if keeper == 0:
            try:
                self._sock.close()
                from buildkit_py.sandbox.network.keeper import keep

                keep(control, theirs, first, _mtu(name, plan), awaits=awaits)
            finally:
                os._exit(1)
        theirs.close()

    def open(self, name: str) -> None:
        """Give the hub the way out called `name`. Raises `UplinkFailed`, and `OSError` where there is no hub."""
        plan = _as_seen_by(name, self._plan)
        if self._hub < 0:
            (self._hub,) = self._receive()
        uplink, addresses = _start(name, plan, self._hub)
        try:
            uplink.wait()
        except BaseException:
            uplink.end()
            raise
        os.close(self._hub)
        self._uplink = uplink
        self._sock.send(marshal.dumps(("open", addresses, _mtu(name, plan), plan.ipv6)))
        if plan.relayed:
            self._listening = self._receive()

    def _receive(self) -> list[int]:
        """The descriptors that come with the next message. Ends this process where the keeper has, which said why."""
        data, ancillary, _, _ = self._sock.recvmsg(_MESSAGE, _socket.CMSG_SPACE(8), _socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(1)
        rights = ancillary[0][2]
        return [int.from_bytes(rights[i : i + 4], sys.byteorder) for i in range(0, len(rights), 4)]

    def stay(self) -> NoReturn:
        """Pass questions on until the keeper ends."""
        assert self._uplink is not None
        poll = select.poll()
        poll.register(self._pidfd, _IN)
        program = self._uplink.pidfd
        if program >= 0:
            poll.register(program, _IN)
        relay = None
        if self._listening:
            from buildkit_py.sandbox.network.relay import Relay

            datagrams, connections = self._listening
            relay = Relay(datagrams, connections, self._plan.relayed, poll)
        while True:
            for fd, events in poll.poll(_EXPIRY if relay is not None and relay.busy else None):
                if fd == self._pidfd:
                    os._exit(0)
                if fd == program:
                    poll.unregister(program)
                    ended = f"{self._uplink.name} has ended: {self._uplink.last_words()}"
                    self._sock.send(marshal.dumps(("ended", ended)))
                elif relay is not None and relay.owns(fd):
                    relay.ready(fd, events)
            if relay is not None:
                relay.expire()


def _as_seen_by(name: str, plan: Plan) -> Plan:
    """The plan without what a way out cannot do."""
    if not plan.ipv6 or name == "pasta":
        return plan
    from buildkit_py.sandbox.network.bridge import forwards_ipv6

    return plan.replace(ipv6=name == "bridge" and forwards_ipv6())


def _mtu(name: str, plan: Plan) -> int:
    """How long packets may be that a way out takes."""
    return plan.mtu if name == "bridge" else LARGEST_MTU


def _start(name: str, plan: Plan, hub: int) -> tuple[Program | Bridge, Addresses]:
    """The way out, begun, and the addresses that the hub's end of it is still to get."""
    match name:
        case "pasta":
            from buildkit_py.sandbox.network import pasta

            return pasta.start(plan, hub), pasta.addresses(plan)
        case "slirp4netns":
            from buildkit_py.sandbox.network import slirp4netns

            return slirp4netns.start(plan, hub), ()
        case "bridge":
            from buildkit_py.sandbox.network.bridge import Bridge

            made = Bridge(plan, hub)
            return made, made.addresses
    raise UplinkFailed(f"there is no way out that is called {name}")
