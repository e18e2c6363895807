"""The plan: which addresses are free, and what is missing."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from pathlib import Path

import pytest

from buildkit_py.sandbox.network.plan import Plan, as_text, draw, ways_out
from tests.needs import need
from tests.sandbox.network.inside import inside


def _draw(*commands: str) -> Plan:
    """The plan of a machine that was made by `ip` commands."""
    need("ip")

    def make() -> tuple[object, ...]:
        # A new namespace forwards if the machine does.
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        return draw().wire()

    return Plan(*inside(make))


LINK = ("link add eth0 type veth", "link set veth0 up", "link set eth0 mtu 1400 up", "addr add 192.0.2.2/24 dev eth0")


def test_without_a_network_the_first_addresses_are_free() -> None:
    plan = _draw()
    assert (plan.ipv4, plan.ipv6, plan.mtu, plan.gateway) == ((10, 219), False, 1500, "10.219.0.1")


@pytest.mark.parametrize(
    ("route", "chosen"),
    [
        ("10.219.3.0/24", (10, 187)),
        ("10.208.0.0/12", (10, 187)),
        ("10.0.0.0/8", (172, 29)),
        ("192.168.0.0/16", (10, 219)),
    ],
)
def test_addresses_that_this_machine_has_a_route_to_are_left_to_it(route: str, chosen: tuple[int, int]) -> None:
    plan = _draw(*LINK, "route add default via 192.0.2.1", f"route add {route} via 192.0.2.9")
    assert (plan.ipv4, plan.mtu) == (chosen, 1400)


def test_with_everything_in_use_it_is_the_one_for_measurements() -> None:
    assert _draw(*LINK, "route add 10.0.0.0/8 via 192.0.2.1", "route add 172.16.0.0/12 via 192.0.2.1").ipv4 == (198, 18)


def test_ipv6_where_there_is_a_way_out() -> None:
    address = "-6 addr add 2001:db8::2/64 dev eth0 nodad"
    assert not _draw(*LINK, address).ipv6
    assert _draw(*LINK, address, "-6 route add default via 2001:db8::1").ipv6
    assert not _draw(*LINK, address, "-6 route add unreachable default metric 5").ipv6


def test_what_is_missing_has_a_line_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildkit_py.sandbox.network.plan.find_program", lambda name: "")
    plan = _draw()
    assert plan.uplinks == ()
    missing = dict(plan.missing)
    assert missing["bridge"] == "sysctl -w net.ipv4.ip_forward=1"
    if os.access("/dev/net/tun", os.R_OK | os.W_OK):
        assert missing["pasta"] == "as root: apt-get install passt"
        assert missing["slirp4netns"] == "as root: apt-get install slirp4netns"


def test_the_bridge_is_looked_for_only_where_nothing_better_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildkit_py.sandbox.network.plan.bridge_is_missing", lambda: "it was looked for")
    monkeypatch.setattr("buildkit_py.sandbox.network.plan.find_program", lambda name: f"/usr/bin/{name}")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("nothing better can be had here")
    assert _draw().uplinks == ("pasta", "bridge", "slirp4netns")
    assert ways_out(True)[1] == ("bridge", "it was looked for")
    monkeypatch.setattr("buildkit_py.sandbox.network.plan.find_program", lambda name: "")
    assert ("bridge", "it was looked for") in _draw().missing


@pytest.mark.parametrize("text", ["10.219.0.1", "fd70:7962:7569:1::1", "2001:db8::"])
def test_addresses_as_text(text: str) -> None:
    assert ipaddress.ip_address(as_text(ipaddress.ip_address(text).packed)) == ipaddress.ip_address(text)


def test_addresses_are_numbered() -> None:
    plan = draw().replace(ipv4=(10, 219))
    assert as_text(plan.address(258)) == "10.219.1.2"
    assert ipaddress.ip_address(plan.ipv6_address(258)) == ipaddress.ip_address("fd70:7962:7569:1::102")
    assert Plan(*plan.wire()) == plan
