"""pasta(1) as the way out: it turns packets into sockets of this machine, without rights in its network.

Addresses of this machine that are no loopback ones are reached, as docker
reaches them; loopback is not (`--no-map-gw`), and nothing is let in.
"""

from __future__ import annotations

from buildkit_py.sandbox.network.plan import OUTER, as_text
from buildkit_py.sandbox.network.uplink import NAMESPACE, UPLINK, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.sandbox.network.hub import Addresses
    from buildkit_py.sandbox.network.plan import Plan

_GATEWAY, _HUB = OUTER + 1, OUTER + 2


def start(plan: Plan, hub: int) -> Program:
    """Start it. Raises `UplinkFailed`."""
    arguments = ["--foreground", "--quiet", "--pid", "/proc/self/fd/1"]
    arguments += ["--netns", NAMESPACE, "--netns-only", "--no-netns-quit", "--ns-ifname", UPLINK, "--no-map-gw"]
    if plan.privileged:
        # As nobody, which it would become, it may not enter the hub. It gives its rights up by itself.
        arguments += ["--runas", "0"]
    if not plan.ipv6:
        arguments.append("--ipv4-only")
    for own, gateway, _ in addresses(plan):
        arguments += ["--address", as_text(own), "--gateway", as_text(gateway)]
    arguments += ["--no-dhcp", "--no-dhcpv6", "--no-ra"]
    for flag in ("--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"):
        arguments += [flag, "none"]
    return Program("pasta", arguments, hub)


def addresses(plan: Plan) -> Addresses:
    """The addresses of the hub's end, which pasta is told and does not give it."""
    out = [(plan.address(_HUB), plan.address(_GATEWAY), 24)]
    if plan.ipv6:
        out.append((plan.ipv6_address(_HUB), plan.ipv6_address(_GATEWAY), 120))
    return tuple(out)
