"""The hub: a network namespace with a bridge that sandboxes are connected to, and one interface that leads out.

It lies between the sandboxes and this machine, whose own network is left as
it is: bridge, rules and forwarding are the hub's, and gone with it. A sandbox
reaches the hub's bridge and what is behind it, and no other sandbox but the
*services*: those whose number says that the others of the hub reach them.
Nothing else reaches a sandbox that did not ask for it.

Sandboxes may run before there is a way out. Until then the hub does not answer
for its addresses, so that what a sandbox sends waits in its own network, as
for any neighbour that has not answered yet, and goes out as soon as there is one.

A hub is for a process with one thread, which is in the hub's namespace while
it does not do anything in another.
"""

from __future__ import annotations

import os
import select

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.network import netlink, nftables
from buildkit_py.sandbox.network.plan import HUB, SERVICES
from buildkit_py.sandbox.network.uplink import UPLINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from buildkit_py.sandbox.network.plan import Plan

    # Of one end: its own address, the other end's, and how many bits of them are those of the network.
    Addresses: TypeAlias = tuple[tuple[bytes, bytes, int], ...]

INTERFACE = "eth0"
"""The name of a sandbox's interface, as docker has it."""

_BRIDGE, _BRIDGE_INDEX = "sandboxes", 10
_INTERFACE_INDEX = 2
_FIRST_PORT = 100
# How often it is looked whether an interface is ready, and how many seconds lie between.
_TRIES, _PAUSE = 2000, 0.0005
# How many seconds what a sandbox sends may wait for the way out: longer than any of them takes, or is waited for.
_PATIENCE = 600
_ENODEV = 19


class Connected:
    """The network namespace of a sandbox: its descriptor, and the one socket in it that is ours.

    The socket stays open, since the kernel counts one that was closed for a while yet (see `namespace`).
    """

    __slots__ = ("namespace", "netlink")

    def __init__(self, namespace: int) -> None:
        """`namespace` is the one that the calling process is in. Raises `OSError`."""
        self.namespace = namespace
        self.netlink = netlink.Netlink()


class Hub:
    """The hub: the calling process is in it from now on. `mtu` is that of what leads out.

    Nothing is in it until `furnish`, so that what leads out can come meanwhile. Raises `OSError`.
    """

    def __init__(self, plan: Plan, mtu: int) -> None:
        self._plan = plan
        self._mtu = mtu
        self._ipv6 = plan.ipv6
        self._is_open = False
        self._silent = os.path.exists("/proc/net/if_inet6")  # there is IPv6 to be silenced
        syscalls.unshare(syscalls.CLONE_NEWNET)
        self.namespace = here()
        self._netlink = netlink.Netlink()
        # Before an interface comes: what has an IPv6 route already loses it when the kernel becomes a router.
        self._forward()

    def furnish(self) -> None:
        """Bridge and rules. Raises `OSError`."""
        self._netlink.ask(
            netlink.set_up(netlink.LOOPBACK),
            netlink.make_bridge(_BRIDGE, _BRIDGE_INDEX, _mac(HUB), self._mtu),
            *self._silence(_BRIDGE),
            netlink.set_up(_BRIDGE_INDEX),
        )
        self._filter()

    def open(self, addresses: Addresses, mtu: int, *, ipv6: bool) -> None:
        """There is something that leads out, which takes packets of `mtu` bytes, and of IPv6 or not.

        `addresses` are for the hub's end of it, empty where it has them. What sandboxes have sent goes out as each is
        `let_out`. Raises `OSError`, and `KeyError` where the interface is gone.
        """
        self._is_open = True
        self._mtu = mtu
        if addresses:
            index = netlink.link_names(self._netlink)[UPLINK]
            self._netlink.ask(*self._silence(UPLINK), netlink.set_mtu(index, mtu), netlink.set_up(index))
            for own, other, prefix in addresses:
                self._netlink.ask(netlink.add_address(index, own, prefix), netlink.add_default_route(index, other))
            _await((self._netlink, index))
        # Last of all: from here on the kernel answers for these addresses, if a sandbox asks just now.
        self._netlink.ask(
            netlink.set_mtu(_BRIDGE_INDEX, mtu),
            *[netlink.add_address(_BRIDGE_INDEX, own, prefix) for own, prefix in self._addresses(HUB)],
        )
        gateways = [own for own, _ in self._addresses(HUB)]
        _until(lambda: all(netlink.is_local(self._netlink, own) for own in gateways))
        # A sandbox that was connected before has addresses of IPv6 until it is let out.
        self._ipv6 = ipv6

    def connect(self, number: int) -> Connected:
        """Make the network namespace of a sandbox, and connect it. Raises `OSError`.

        `number`, from 2 to `plan.LAST`, decides its addresses and whether the others reach it; no other that is
        connected has the same.
        """
        connected = self._begin()
        self.attach(number, connected)
        self.join(number)
        return connected

    def adopt(self, namespace: int) -> tuple[Connected, netlink.Netlink]:
        """An empty network namespace that somebody else made, and a second socket in it. Raises `OSError`."""
        syscalls.setns(namespace, syscalls.CLONE_NEWNET)
        try:
            return Connected(namespace), netlink.Netlink()
        finally:
            syscalls.setns(self.namespace, syscalls.CLONE_NEWNET)

    def attach(self, number: int, connected: Connected) -> None:
        """Give a sandbox's namespace its interface, addresses and routes: all that its commands see of the network.

        What they send waits, as the hub does not know of it before `join`, and leads nowhere. Raises `OSError`.
        """
        mac, port, index = _mac(number), _port(number), _FIRST_PORT + number
        connected.netlink.ask(
            netlink.set_up(netlink.LOOPBACK),
            netlink.make_veth(INTERFACE, _INTERFACE_INDEX, mac, self._mtu, port, self.namespace, index),
            *self._silence(INTERFACE),
            *([] if self._is_open else self._be_patient(_PATIENCE)),
            netlink.set_up(_INTERFACE_INDEX),
        )
        self._netlink.ask(*self._silence(port), netlink.set_up(index))
        connected.netlink.ask(
            *[netlink.add_address(_INTERFACE_INDEX, own, prefix) for own, prefix in self._addresses(number)],
            *(self._gateways() if self._is_open else []),
            *[netlink.add_default_route(_INTERFACE_INDEX, gateway) for gateway, _ in self._addresses(HUB)],
        )
        _await((connected.netlink, _INTERFACE_INDEX), (self._netlink, index))

    def join(self, number: int) -> None:
        """Have the bridge pass on to and from a sandbox that is attached. Raises `OSError`."""
        mac, port, index = _mac(number), _port(number), _FIRST_PORT + number
        self._netlink.ask(
            netlink.join_bridge(port, _BRIDGE_INDEX),
            netlink.set_port(port, isolated=number < SERVICES),
            netlink.add_bridge_entry(index, mac),
            *[netlink.add_neighbour(_BRIDGE_INDEX, own, mac) for own, _ in self._addresses(number)],
        )
        _await((self._netlink, index), (self._netlink, _BRIDGE_INDEX))

    def let_out(self, number: int, connected: Connected) -> None:
        """A sandbox that was connected before the hub was open hears of it. Raises `OSError`.

        One whose command has taken its interface away, as it may where it has the right to, has no use for it.
        """
        inside, index = connected.netlink, _INTERFACE_INDEX
        try:
            self._netlink.ask(netlink.set_mtu(_FIRST_PORT + number, self._mtu))
            inside.ask(
                netlink.set_mtu(index, self._mtu),
                *self._gateways(ipv6=self._plan.ipv6),  # with which goes out what has waited
                *self._be_patient(netlink.TIMES),
            )
        except OSError as error:
            if error.errno != _ENODEV:
                raise
        if self._plan.ipv6 and not self._ipv6:  # the hub has said so to who has tried
            gateway, own = self._plan.ipv6_address(HUB), self._plan.ipv6_address(number)
            try:
                inside.ask(netlink.remove_default_route(index, gateway), netlink.remove_address(index, own, 64))
            except OSError:
                pass  # the command has

    def disconnect(self, number: int, connected: Connected) -> None:
        """Take the interface of a sandbox away, whoever is still in its namespace, and let go of that."""
        os.close(connected.namespace)
        connected.netlink.close()
        try:
            self._netlink.ask(netlink.remove_link(_port(number)))
        except OSError:
            pass  # nobody was, and the kernel was faster

    def _begin(self) -> Connected:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        try:
            return Connected(here())
        finally:
            syscalls.setns(self.namespace, syscalls.CLONE_NEWNET)

    def _addresses(self, number: int, *, ipv6: bool = False) -> list[tuple[bytes, int]]:
        """The addresses of a number, with how many bits of them are those of the network; `ipv6`: those of it as well,
        even if it does not lead out.
        """
        addresses = [(self._plan.address(number), 17)]
        if ipv6 or self._ipv6:
            addresses.append((self._plan.ipv6_address(number), 64))
        return addresses

    def _gateways(self, *, ipv6: bool = False) -> list[netlink.Message]:
        """Of a sandbox's network: where the hub is."""
        mac = _mac(HUB)
        return [netlink.add_neighbour(_INTERFACE_INDEX, own, mac) for own, _ in self._addresses(HUB, ipv6=ipv6)]

    def _be_patient(self, times: int) -> list[netlink.Message]:
        """Of a sandbox's network: how often the hub is asked where it is."""
        families = (netlink.AF_INET, netlink.AF_INET6) if self._plan.ipv6 else (netlink.AF_INET,)
        return [netlink.ask_neighbours(_INTERFACE_INDEX, family, times) for family in families]

    def _silence(self, name: str) -> list[netlink.Message]:
        return [netlink.stay_silent(name)] if self._silent else []

    def _forward(self) -> None:
        """Pass packets on between bridge and uplink. Of this namespace alone: /proc/sys/net shows each its own."""
        _set("/proc/sys/net/ipv4/ip_forward", b"1")
        if self._plan.ipv6:
            _set("/proc/sys/net/ipv6/conf/all/forwarding", b"1")
        # Where this machine has br_netfilter, as docker wants it, the rules below would be asked of what the bridge
        # itself passes on, too.
        for family in ("ip", "ip6"):
            path = f"/proc/sys/net/bridge/bridge-nf-call-{family}tables"
            if os.path.exists(path):
                _set(path, b"0")

    def _filter(self) -> None:
        table = nftables.Table(
            nftables.INET,
            "hub",
            forwarded=[
                # A bridge's isolated ports do not hear each other; this is for what is sent by way of the hub.
                nftables.comes_by(_BRIDGE) + nftables.goes_by(_BRIDGE) + nftables.drop(),
                nftables.comes_by(UPLINK) + nftables.is_new() + nftables.drop(),
            ],
            leaves=[nftables.goes_by(UPLINK) + nftables.masquerade()],
        )
        with nftables.open_netlink() as socket:
            table.make(socket, owned=False)


def _await(*interfaces: tuple[netlink.Netlink, int]) -> None:
    """Until packets pass all of them: the first would be lost, and be sent again only a second later."""
    _until(lambda: all(netlink.is_ready(kernel, index) for kernel, index in interfaces))


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(_TRIES):
        if condition():
            return
        select.select([], [], [], _PAUSE)


def _set(path: str, value: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value)
    finally:
        os.close(fd)


def here() -> int:
    """The network namespace that this process is in, as a descriptor."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _port(number: int) -> str:
    """The name of the bridge's interface to a sandbox."""
    return f"port{number}"


def _mac(number: int) -> bytes:
    """A hardware address of the range that anybody may use (the second bit of the first byte, IEEE 802)."""
    return b"\x02pb\0" + number.to_bytes(2, "big")
