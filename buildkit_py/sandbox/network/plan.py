"""The plan of an isolated network: what this machine has to make one of, and which addresses are free for it.

The builder draws it, once a step is foreseen that wants the network; the
process that keeps the network (`keeper`) carries it out. Nothing is tried
here, only looked at, in less than a millisecond.
"""

from __future__ import annotations

import os

from buildkit_py.record import Record
from buildkit_py.sandbox.resolv import is_local, name_servers, resolv_conf
from buildkit_py.sandbox.userns import find_program, in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PASTA, BRIDGE, SLIRP = "pasta", "bridge", "slirp4netns"
_TUN = "/dev/net/tun"
# The second byte of 10.x, then of 172.x: unusual ones, since a network of this machine with the same addresses would be
# out of reach. 198.18/15 is for measurements (RFC 2544) and in no network that people use.
_CANDIDATES = (*[(10, second) for second in (219, 187, 157, 127, 97, 67)], (172, 29), (172, 23), (198, 18))
# A network of our own (ULA, RFC 4193), numbered as IPv4 is.
_IPV6 = bytes.fromhex("fd70796275690001")
HUB = 1
"""The hub's number among those of sandboxes."""
FIRST = 2
"""The number of the first sandbox."""
SERVICES = 1 << 14
"""From this number on sandboxes are services, which the others of their hub reach."""
LAST = (1 << 15) - 2
"""The last number that a sandbox can have."""
# The numbers from which on addresses are not of sandboxes.
OUTER = 1 << 15


class Plan(Record):
    """`uplinks` are the ways out to try, the best first; empty: there is none, for the reasons in `missing`. The bridge
    is among them unseen where another one is tried before: looking is 1 ms, and nearly always for nothing.

    `ipv4` are the first two bytes of the addresses: sandboxes are in the lower half of them, x.y.0.1 of which is the
    hub's; x.y.128.0 and on lies between the hub and what reaches out. `ipv6`: this machine has a way out for it.
    `mtu` is that of this machine's own way out. `relayed` are name servers that only this machine itself reaches, so
    that questions go through the hub. `resolv_conf` is what sandboxes get. `privileged`: root of the machine.
    """

    uplinks: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    ipv4: tuple[int, int]
    ipv6: bool
    mtu: int
    relayed: tuple[str, ...]
    resolv_conf: bytes
    privileged: bool

    def wire(self) -> tuple[Any, ...]:
        """The plan as plain values, for `marshal`."""
        return self.values()

    def address(self, number: int) -> bytes:
        """The IPv4 address of sandbox `number`, of the hub for 1; from `OUTER` on they lie on its other side."""
        return bytes(self.ipv4) + number.to_bytes(2, "big")

    def ipv6_address(self, number: int) -> bytes:
        """The same of IPv6."""
        return _IPV6 + number.to_bytes(8, "big")

    @property
    def gateway(self) -> str:
        """The hub's IPv4 address, as text."""
        return as_text(self.address(HUB))


def as_text(address: bytes) -> str:
    """An address as people write it."""
    if len(address) == 4:
        return ".".join([str(byte) for byte in address])
    return ":".join([f"{address[i] << 8 | address[i + 1]:x}" for i in range(0, 16, 2)])


def draw() -> Plan:
    """The plan for this machine and this user, as it is now."""
    privileged = os.geteuid() == 0 and not in_user_namespace()
    missing: list[tuple[str, str]] = []
    uplinks: list[str] = []
    for name, why in ways_out(privileged, thrifty=True):
        if why:
            missing.append((name, why))
        else:
            uplinks.append(name)
    routes = _routes()
    ipv4 = _free(routes)
    servers = name_servers()
    relayed = tuple(servers) if any(is_local(server) for server in servers) else ()
    conf = resolv_conf()
    plan = Plan(
        tuple(uplinks),
        tuple(missing),
        ipv4,
        _has_ipv6(),
        _mtu(routes),
        relayed,
        conf,
        privileged,
    )
    return plan.replace(resolv_conf=resolv_conf(servers=(plan.gateway,))) if relayed else plan


def ways_out(privileged: bool, *, thrifty: bool = False) -> list[tuple[str, str]]:
    """Each way out, the best first, and what is missing for it: "" or a line that says it.

    `thrifty`: what is not known at once is not looked for where a better one is there.
    """
    tun = _tun_is_missing()
    ways = [(PASTA, tun or _is_missing("pasta", "passt"))]
    if privileged:
        ways.append((BRIDGE, "" if thrifty and not ways[0][1] else bridge_is_missing()))
    ways.append((SLIRP, tun or _is_missing("slirp4netns", "slirp4netns")))
    return ways


def _is_missing(program: str, package: str) -> str:
    return "" if find_program(program) else f"as root: apt-get install {package}"


def _tun_is_missing() -> str:
    if not os.path.exists(_TUN):
        return "as root: modprobe tun"
    return "" if os.access(_TUN, os.R_OK | os.W_OK) else f"as root: chmod 666 {_TUN}"


def bridge_is_missing() -> str:
    """What is missing for the bridge, as in `ways_out`."""
    if _read("/proc/sys/net/ipv4/ip_forward").strip() != "1":
        return "sysctl -w net.ipv4.ip_forward=1"
    from buildkit_py.sandbox.network.nftables import drops_forwarded, open_netlink

    try:
        with open_netlink() as netlink:
            dropped = drops_forwarded(netlink)
    except OSError:
        return "modprobe nf_tables"
    return "a firewall drops what is forwarded: iptables -P FORWARD ACCEPT" if dropped else ""


class _Route(Record):
    device: str
    network: int
    mask: int


def _routes() -> list[_Route]:
    """The IPv4 routes (/proc/net/route of proc_pid_net(5)), whose numbers are in network order."""
    out = []
    for line in _read("/proc/net/route").splitlines()[1:]:
        fields = line.split()
        network, mask = [int.from_bytes(bytes.fromhex(fields[i])[::-1], "big") for i in (1, 7)]
        out.append(_Route(fields[0], network, mask))
    return out


def _free(routes: list[_Route]) -> tuple[int, int]:
    """The first candidate, a /16, that shares no address with a network that this machine has a route to."""
    for candidate in _CANDIDATES:
        network = candidate[0] << 24 | candidate[1] << 16
        if not any(_overlaps(route, network) for route in routes):
            return candidate
    return _CANDIDATES[-1]


def _overlaps(route: _Route, network: int) -> bool:
    # Those of other hubs are made so that they do not clash.
    own = route.device.startswith("pyb")
    return bool(route.mask) and not own and (route.network ^ network) & route.mask & 0xFFFF0000 == 0


def _mtu(routes: list[_Route]) -> int:
    sizes = [_read(f"/sys/class/net/{route.device}/mtu").strip() for route in routes if route.mask == 0]
    return min([int(size) for size in sizes if size.isdigit()], default=1500)


def _has_ipv6() -> bool:
    """Whether there is a default route for IPv6 by an interface that has a link-local address, as pasta wants it.

    An "unreachable" is a route by `lo`.
    """
    ways = set()
    for line in _read("/proc/net/ipv6_route").splitlines():
        fields = line.split()
        if fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo":
            ways.add(fields[9])
    addresses = [line.split() for line in _read("/proc/net/if_inet6").splitlines()]
    return bool(ways & {fields[5] for fields in addresses if fields[3] == "20"})


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
