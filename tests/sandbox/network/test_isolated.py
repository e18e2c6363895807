"""What a sandbox on the isolated network reaches and what it does not, by every way out, for every kind of user."""

from __future__ import annotations

import pytest

from tests.sandbox.network.conftest import Lan


def _said(lan: Lan, address: str, port: int) -> str:
    """What a server says to a sandbox that connects: its name; "" where nothing is reached."""
    out: str = lan.sh(f"nc -w 3 {address} {port} </dev/null 2>/dev/null").out
    return out.split(" ", maxsplit=1)[0]


def test_the_world_is_reached(lan: Lan) -> None:
    # By the address of the machine, behind which the sandbox stands.
    assert lan.sh("nc -w 3 203.0.113.10 7000 </dev/null").out == "world 192.0.2.2\n"


def test_the_world_is_reached_by_ipv6(lan: Lan) -> None:
    if lan.uplink == "slirp4netns":
        pytest.skip("IPv4 only")
    assert lan.sh("nc -w 3 2001:db8:1::10 7000 </dev/null").out == "world 2001:db8::2\n"


def test_the_machine_is_reached_by_its_address_as_under_docker(lan: Lan) -> None:
    assert _said(lan, "192.0.2.2", 7002) == "machine"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.2", "gateway", "uplink"])
def test_the_loopback_of_the_machine_is_not_reached(lan: Lan, address: str) -> None:
    numbers = {"gateway": "10.219.0.1", "uplink": "10.219.128.2"}
    assert _said(lan, numbers.get(address, address), 7001) == ""


def test_slirp_and_pasta_give_their_gateway_no_way_to_the_loopback(lan: Lan) -> None:
    # Both mean the machine itself by it, if they are not told otherwise.
    for address in ("10.219.128.1", "10.219.128.2", "10.219.128.3"):
        assert _said(lan, address, 7001) == ""


def test_names_are_asked_of_the_machines_own_name_server(lan: Lan) -> None:
    lines = lan.lines("cat /etc/resolv.conf; nslookup any.example.test; nslookup -type=a other.example.test")
    assert lines[:2] == ["nameserver 10.219.0.1", "search example.test"]
    assert [line for line in lines if "203.0.113.10" in line]


def test_interfaces_and_routes(lan: Lan) -> None:
    lines = lan.lines("ls /sys/class/net; ip -4 route; ip -4 addr show eth0")
    assert lines[:2] == ["eth0", "lo"]
    assert lines[2].startswith("default via 10.219.0.1 dev eth0")
    assert "127.0.0.1" in "".join(lan.lines("ip addr show lo"))


def test_nothing_of_the_machine_is_seen(lan: Lan) -> None:
    assert not [line for line in lan.lines("cat /proc/net/tcp /proc/net/unix") if "1B5A" in line or "@" in line]


def test_the_network_cannot_be_changed(lan: Lan) -> None:
    for command in (
        *("ip addr add 10.9.9.9/24 dev eth0", "ip link set eth0 down", "ip route del default"),
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
    ):
        assert lan.sh(command).code != 0, command
    assert _said(lan, "203.0.113.10", 7000) == "world"
