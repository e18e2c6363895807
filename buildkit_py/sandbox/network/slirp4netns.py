"""slirp4netns(1) as the way out, where pasta is not installed: the same by libslirp, IPv4 only."""

from __future__ import annotations

from buildkit_py.sandbox.network.plan import OUTER, as_text
from buildkit_py.sandbox.network.uplink import LARGEST_MTU, NAMESPACE, UPLINK, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.sandbox.network.plan import Plan


def start(plan: Plan, hub: int) -> Program:
    """Start it. Raises `UplinkFailed`."""
    arguments = ["--configure", f"--mtu={LARGEST_MTU}", f"--cidr={as_text(plan.address(OUTER))}/24", "--ready-fd=1"]
    arguments += ["--disable-host-loopback", "--disable-dns", "--enable-sandbox", "--enable-seccomp"]
    arguments += ["--netns-type=path", NAMESPACE, UPLINK]
    return Program("slirp4netns", arguments, hub)
