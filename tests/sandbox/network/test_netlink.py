"""Interfaces, addresses and routes as the kernel then shows them."""

from __future__ import annotations

import errno
import socket
import subprocess
from pathlib import Path

import pytest

from buildkit_py.sandbox.network import netlink
from tests.needs import need
from tests.sandbox.network.inside import inside


def _shown(*command: str) -> str:
    return subprocess.run(["ip", *command], capture_output=True, text=True, check=True).stdout


def test_a_bridge_with_addresses_and_a_route() -> None:
    need("ip")

    def make() -> tuple[str, str, str]:
        with netlink.Netlink() as kernel:
            kernel.ask(
                netlink.make_bridge("some", 7, b"\x02abcde", 1400),
                netlink.stay_silent("some"),
                netlink.set_up(7),
                netlink.add_address(7, socket.inet_aton("192.0.2.2"), 24),
                netlink.add_address(7, socket.inet_pton(socket.AF_INET6, "2001:db8::2"), 64),
                netlink.add_neighbour(7, socket.inet_aton("192.0.2.1"), b"\x02vwxyz"),
                netlink.add_default_route(7, socket.inet_aton("192.0.2.1")),
            )
            assert netlink.link_names(kernel) == {"lo": 1, "some": 7}
        return _shown("addr", "show", "some"), _shown("route"), _shown("neigh")

    addresses, routes, neighbours = inside(make)
    assert "mtu 1400" in addresses
    assert "link/ether 02:61:62:63:64:65" in addresses
    assert "inet 192.0.2.2/24" in addresses
    assert "inet6 2001:db8::2/64 scope global nodad" in addresses
    assert "fe80" not in addresses
    assert "default via 192.0.2.1 dev some" in routes
    assert "192.0.2.1 dev some lladdr 02:76:77:78:79:7a PERMANENT" in neighbours


def test_the_first_refusal_is_told_and_the_socket_goes_on() -> None:
    def make() -> list[int | None]:
        refused = []
        with netlink.Netlink() as kernel:
            for messages in (
                [netlink.remove_link("missing"), netlink.set_up(99)],
                [netlink.make_bridge("lo", 0, b"\x02abcde", 1400)],
                [netlink.set_up(netlink.LOOPBACK), netlink.add_address(1, b"\x7f\0\0\x01", 8)],
            ):
                with pytest.raises(OSError) as caught:
                    kernel.ask(*messages)
                refused.append(caught.value.errno)
            kernel.ask(netlink.set_mtu(1, 1280))
            assert Path("/proc/net/dev").read_text().count(":") == 1
        return refused

    assert inside(make) == [errno.ENODEV, errno.EEXIST, errno.EEXIST]


def test_attributes_are_read_as_they_are_written() -> None:
    data = netlink.text(3, "eth0") + netlink.nested(18, netlink.number(4, 5), netlink.attribute(1, b"abc"))
    found = netlink.attributes(data)
    assert found[3] == b"eth0\0"
    assert netlink.attributes(found[18]) == {4: (5).to_bytes(4, "little"), 1: b"abc"}
    assert netlink.attributes(b"\1\0\1\0abcd") == {}, "a length that is none ends it"
