"""rtnetlink (rtnetlink(7)): interfaces, addresses, routes and neighbours of a network namespace.

A message is bytes; `Netlink` sends several at once and waits until the
kernel has acknowledged each. A socket stays with the network namespace that
it was made in, wherever its process goes afterwards.
"""

from __future__ import annotations

import _socket
import os
from struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

AF_INET, AF_INET6 = 2, 10
LOOPBACK = 1
"""The index of `lo`, which the kernel gives first in every network namespace."""

_ROUTE = 0  # of the protocols of netlink(7)
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 16, 17, 18, 20, 21, 24, 25
_GETROUTE, _NEWNEIGH, _SETNEIGHTBL = 26, 28, 67
_REQUEST, _ACK, _DUMP, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x200, 0x400
_ERROR, _DONE = 2, 3
_UP = 1
_NODAD = 0x02
_PERMANENT, _NOARP, _MASTER = 0x80, 0x40, 0x04
_AF_BRIDGE = 7
# IFLA_OPERSTATE: unknown, which is what drivers without a carrier say, and up (RFC 2863). IFLA_BRPORT_STATE.
_PASSES, _FORWARDING = (b"\0", b"\6"), b"\3"
_MAIN_TABLE, _STATIC, _UNIVERSE, _UNICAST, _LOCAL = 254, 4, 0, 1, 2
_NESTED = 0x8000
_LARGEST = 1 << 16


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute: length, type, bytes, padded to four."""
    return pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a string, with its end."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """An attribute that is a 32-bit number of this machine's byte order."""
    return attribute(kind, pack("=I", value))


class Message:
    """A request: its type, its flags besides REQUEST and ACK, and its body."""

    __slots__ = ("body", "flags", "kind")

    def __init__(self, kind: int, body: bytes, flags: int = 0) -> None:
        self.kind = kind
        self.body = body
        self.flags = flags

    def encode(self, sequence: int, flags: int) -> bytes:
        """The message with its header (struct nlmsghdr)."""
        return pack("=IHHII", 16 + len(self.body), self.kind, self.flags | flags, sequence, 0) + self.body


def _link(*attributes: bytes, index: int = 0, up: bool = False) -> bytes:
    return pack("=BxHiII", 0, 0, index, _UP if up else 0, _UP if up else 0) + b"".join(attributes)


def make_bridge(name: str, index: int, mac: bytes, mtu: int) -> Message:
    """A bridge, down."""
    attributes = (text(3, name), attribute(1, mac), number(4, mtu), nested(18, text(1, "bridge")))
    return Message(_NEWLINK, _link(*attributes, index=index), _CREATE | _EXCL)


def make_veth(
    name: str, index: int, mac: bytes, mtu: int, peer: str, peer_namespace: int, peer_index: int = 0
) -> Message:
    """A veth(4) here, down, whose other end `peer` is in the network namespace `peer_namespace` (a descriptor).

    An index 0 is for the kernel to choose.
    """
    # Where nobody says how many, the kernel makes a queue for each processor and uses one of them, and for that change
    # it waits twice until all processors have seen it: 2 to 10 ms.
    common = (number(4, mtu), number(31, 1), number(32, 1))
    # struct ifinfomsg stands before the attributes of the other end.
    other = attribute(1, _link(text(3, peer), *common, number(28, peer_namespace), index=peer_index))
    attributes = (text(3, name), attribute(1, mac), *common, nested(18, text(1, "veth"), nested(2, other)))
    return Message(_NEWLINK, _link(*attributes, index=index), _CREATE | _EXCL)


def stay_silent(name: str) -> Message:
    """An interface that gives itself no IPv6 address once it is up, so that it sends nothing that nobody asked for.

    Where the kernel has no IPv6, this is refused.
    """
    silent = nested(26, nested(AF_INET6, attribute(8, b"\1")))  # IFLA_INET6_ADDR_GEN_MODE: none
    return Message(_NEWLINK, _link(text(3, name), silent))


def set_mtu(index: int, mtu: int) -> Message:
    """The most bytes that an interface takes in one piece."""
    return Message(_NEWLINK, _link(number(4, mtu), index=index))


def set_up(index: int) -> Message:
    """An interface, set up."""
    return Message(_NEWLINK, _link(index=index, up=True))


def join_bridge(name: str, bridge: int) -> Message:
    """An interface made a port of a bridge, and set up."""
    return Message(_NEWLINK, _link(text(3, name), number(10, bridge), up=True))


def set_port(name: str, *, isolated: bool) -> Message:
    """A bridge's port, of which the bridge learns no hardware address. Isolated ones do not reach each other."""
    settings = attribute(33, b"\1" if isolated else b"\0") + attribute(8, b"\0")  # IFLA_BRPORT_{ISOLATED,LEARNING}
    return Message(_NEWLINK, _link(text(3, name), nested(18, text(4, "bridge"), nested(5, settings))))


def add_bridge_entry(port: int, mac: bytes) -> Message:
    """The hardware address behind a bridge's port (an index), for good."""
    body = pack("=BxxxiHBB", _AF_BRIDGE, port, _NOARP, _MASTER, 0)
    return Message(_NEWNEIGH, body + attribute(2, mac), _CREATE | _REPLACE)


def remove_link(name: str) -> Message:
    """An interface removed; a veth's other end goes with it."""
    return Message(_DELLINK, _link(text(3, name)))


def remove_address(index: int, address: bytes, prefix: int) -> Message:
    """An address taken from an interface, with the route to those of its network."""
    family = AF_INET if len(address) == 4 else AF_INET6
    return Message(_DELADDR, pack("=BBBBI", family, prefix, 0, 0, index) + attribute(2, address))


def add_address(index: int, address: bytes, prefix: int) -> Message:
    """An address (4 or 16 bytes) of an interface, usable at once: nobody else can have it."""
    family = AF_INET if len(address) == 4 else AF_INET6
    body = pack("=BBBBI", family, prefix, 0, 0, index) + attribute(2, address) + attribute(1, address)
    if family == AF_INET6:
        body += number(8, _NODAD)
    return Message(_NEWADDR, body, _CREATE | _EXCL)


def add_default_route(index: int, gateway: bytes) -> Message:
    """The default route of the gateway's family."""
    return Message(_NEWROUTE, _default_route(index, gateway), _CREATE | _EXCL)


def remove_default_route(index: int, gateway: bytes) -> Message:
    """The same route removed."""
    return Message(_DELROUTE, _default_route(index, gateway))


def _default_route(index: int, gateway: bytes) -> bytes:
    family = AF_INET if len(gateway) == 4 else AF_INET6
    body = pack("=BBBBBBBBI", family, 0, 0, 0, _MAIN_TABLE, _STATIC, _UNIVERSE, _UNICAST, 0)
    return body + attribute(5, gateway) + number(4, index)


def add_neighbour(index: int, address: bytes, mac: bytes) -> Message:
    """The hardware address behind a network address, for good: nobody is asked, and no forged answer counts."""
    family = AF_INET if len(address) == 4 else AF_INET6
    body = pack("=BxxxiHBB", family, index, _PERMANENT, 0, 0)
    return Message(_NEWNEIGH, body + attribute(1, address) + attribute(2, mac), _CREATE | _REPLACE)


def ask_neighbours(index: int, family: int, times: int) -> Message:
    """How often a neighbour by that interface is asked, a second apart, before what waits for its answer is given up
    (`mcast_solicit` of ip-sysctl); the kernel's own is `TIMES`.
    """
    table = {AF_INET: "arp_cache", AF_INET6: "ndisc_cache"}[family]
    body = pack("=Bxxx", family) + text(1, table) + nested(6, number(1, index), number(11, times))
    return Message(_SETNEIGHTBL, body)


TIMES = 3


class Netlink:
    """A socket to the kernel, of the network namespace that the process is in now; a context manager."""

    def __init__(self, protocol: int = _ROUTE) -> None:
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the socket, and of what the kernel keeps for as long as it is open."""
        self._socket.close()

    def ask(self, *messages: Message) -> None:
        """Have all of them done, in this order. Raises `OSError` for the first that the kernel refuses."""
        first = self._sequence + 1
        data = b""
        for message in messages:
            self._sequence += 1
            # What is refused is told in any case, and before what comes behind it is done.
            flags = _REQUEST | _ACK if message is messages[-1] else _REQUEST
            data += message.encode(self._sequence, flags)
        self._socket.send(data)
        self._await(range(first, self._sequence + 1), range(self._sequence, self._sequence + 1))

    def transact(self, begin: Message, messages: list[Message], end: Message) -> None:
        """Have all of the messages done, or none, between the two that frame a batch. Raises `OSError`."""
        self._sequence += 1
        data = begin.encode(self._sequence, _REQUEST)
        first = self._sequence + 1
        for message in messages:
            self._sequence += 1
            data += message.encode(self._sequence, _REQUEST | _ACK)
        last = self._sequence
        self._sequence += 1
        self._socket.send(data + end.encode(self._sequence, _REQUEST))
        self._await(range(first, last + 1), range(first, last + 1))

    def get(self, message: Message) -> bytes:
        """The body of the one answer to a request. Raises `OSError`."""
        self._sequence += 1
        self._socket.send(message.encode(self._sequence, _REQUEST))
        while True:
            for kind, sequence, body in _parts(self._socket.recv(_LARGEST)):
                if sequence != self._sequence:
                    continue
                if kind == _ERROR:
                    raise _error(body)
                return body

    def dump(self, message: Message) -> list[bytes]:
        """The bodies of all answers to a request for a list. Raises `OSError`."""
        self._sequence += 1
        self._socket.send(message.encode(self._sequence, _REQUEST | _DUMP))
        bodies: list[bytes] = []
        while True:
            for kind, sequence, body in _parts(self._socket.recv(_LARGEST)):
                if sequence != self._sequence:
                    continue
                if kind == _DONE:
                    return bodies
                if kind == _ERROR:
                    raise _error(body)
                bodies.append(body)

    def _await(self, sequences: range, acknowledged: range) -> None:
        missing = set(acknowledged)
        failure: OSError | None = None
        while missing:
            for kind, sequence, body in _parts(self._socket.recv(_LARGEST)):
                if kind != _ERROR or sequence not in sequences:
                    continue
                missing.discard(sequence)
                if failure is None and unpack_from("=i", body)[0]:
                    failure = _error(body)
        if failure is not None:
            raise failure


def attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by their type; of several with one type, the last."""
    out = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = unpack_from("=HH", data, offset)
        if length < 4:
            break
        out[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += length + (-length % 4)
    return out


def link_names(netlink: Netlink) -> dict[str, int]:
    """The interfaces of the socket's namespace: index by name. Raises `OSError`."""
    out = {}
    for body in netlink.dump(Message(_GETLINK, _link())):
        out[attributes(body[16:])[3].rstrip(b"\0").decode()] = unpack_from("=i", body, 4)[0]
    return out


def is_ready(netlink: Netlink, index: int) -> bool:
    """Whether packets pass an interface already, and, if it is a bridge's port, from and to the bridge.

    It is set up in two steps, of which the kernel does the second when it has time (its "link watch").
    """
    found = attributes(netlink.get(Message(_GETLINK, _link(index=index)))[16:])
    port = attributes(attributes(found.get(18, b"")).get(5, b""))
    return found.get(16) in _PASSES and port.get(1, _FORWARDING) == _FORWARDING


def is_local(netlink: Netlink, address: bytes) -> bool:
    """Whether packets to an address end in the socket's namespace already.

    Of an address of IPv6 the kernel sets the route when it has time, also where it is usable at once.
    """
    family = AF_INET if len(address) == 4 else AF_INET6
    body = pack("=BBBBBBBBI", family, 8 * len(address), 0, 0, 0, 0, 0, 0, 0) + attribute(1, address)
    try:
        return netlink.get(Message(_GETROUTE, body))[7] == _LOCAL
    except OSError:  # no route leads there
        return False


def _parts(data: bytes) -> list[tuple[int, int, bytes]]:
    out = []
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _, sequence, _ = unpack_from("=IHHII", data, offset)
        out.append((kind, sequence, data[offset + 16 : offset + length]))
        offset += length + (-length % 4)
    return out


def _error(body: bytes) -> OSError:
    errno = -unpack_from("=i", body)[0]
    return OSError(errno, os.strerror(errno), "netlink")
