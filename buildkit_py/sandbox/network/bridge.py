"""A veth(4) as the way out, for root where no program can be it: this machine forwards, and gives its own address.

The only one that touches this machine's network: an interface, which goes
with the hub, and rules that belong to a socket of this process. So nothing is
left when it is killed. That packets are forwarded at all is not changed here,
since it would have to stay changed (`plan` says who has to allow it).
"""

from __future__ import annotations

import os

from buildkit_py.sandbox.network import netlink, nftables
from buildkit_py.sandbox.network.plan import OUTER, bridge_is_missing
from buildkit_py.sandbox.network.uplink import UPLINK, UplinkFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.sandbox.network.plan import Plan

PREFIX = "pyb"
"""What the names of this machine's interfaces begin with; the process id of the one who made it follows."""

_SUBNETS = 1 << 13  # of four addresses each
_MACHINE, _HUB = 1, 2  # of the four


def forwards_ipv6() -> bool:
    """Whether this machine forwards IPv6, as root has to have allowed."""
    try:
        with open("/proc/sys/net/ipv6/conf/all/forwarding", encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


class Bridge:
    """The interface between this machine and a hub, with its rules.

    `pidfd` is -1: there is no program that could end. `addresses` are for the hub's end: own, the machine's, prefix.
    """

    name = "bridge"
    pidfd = -1

    def __init__(self, plan: Plan, hub: int) -> None:
        """Make it; `hub` is the hub's network namespace. Raises `UplinkFailed`."""
        if why := bridge_is_missing():
            raise UplinkFailed(f"bridge: {why}")
        number = OUTER + 4 * _free_subnet(plan)
        links = [(plan.address(number + _MACHINE), plan.address(number + _HUB), 30)]
        if plan.ipv6:
            links.append((plan.ipv6_address(number + _MACHINE), plan.ipv6_address(number + _HUB), 126))
        self.addresses = tuple((own, machine, prefix) for machine, own, prefix in links)
        name = self._name = f"{PREFIX}{_process_id()}"
        try:
            with netlink.Netlink() as machine:
                machine.ask(netlink.make_veth(name, 0, b"\x02pb\1\0\1", plan.mtu, UPLINK, hub))
                index = netlink.link_names(machine)[name]
                machine.ask(netlink.set_up(index))
                for address, _, prefix in links:
                    machine.ask(netlink.add_address(index, address, prefix))
            self._rules = nftables.open_netlink()
            for _, address, _ in links:
                family = nftables.IPV4 if len(address) == 4 else nftables.IPV6
                rule = nftables.comes_from(address) + nftables.masquerade()
                nftables.Table(family, name, leaves=[rule]).make(self._rules, owned=True)
        except OSError as error:
            _remove(name)
            raise UplinkFailed(f"bridge: {error.strerror}") from error

    def end(self) -> None:
        """Take it away again. Otherwise the interface goes with the hub."""
        self._rules.close()
        _remove(self._name)

    def wait(self) -> None:
        """It is there already."""

    def last_words(self) -> str:
        """Nothing: there is nobody to say it."""
        return ""


def _remove(name: str) -> None:
    """Take the interface away, so that another way out may have its place in the hub."""
    try:
        with netlink.Netlink() as machine:
            machine.ask(netlink.remove_link(name))
    except OSError:
        pass  # it has not come so far


def _process_id() -> int:
    """The process's id as this machine's /proc has it, whatever pid namespace it is in."""
    return int(os.readlink("/proc/self"))


def _free_subnet(plan: Plan) -> int:
    """A subnet that no other hub uses; each begins to look elsewhere, so that two that look at once do not meet."""
    with open("/proc/thread-self/net/route", encoding="ascii") as file:
        lines = file.read().splitlines()[1:]
    taken = {bytes.fromhex(line.split()[1])[::-1] for line in lines}
    first = _process_id() % _SUBNETS
    for offset in range(_SUBNETS):
        subnet = (first + offset) % _SUBNETS
        if plan.address(OUTER + 4 * subnet) not in taken:
            return subnet
    raise UplinkFailed("bridge: all addresses are taken")
