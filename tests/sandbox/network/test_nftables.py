"""Rules as `nft` shows them, and that they go with their socket."""

from __future__ import annotations

import errno
import subprocess

import pytest

from buildkit_py.sandbox.network import nftables
from tests.needs import need
from tests.sandbox.network.inside import inside


def _rules() -> str:
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


def _table(family: int = nftables.INET) -> nftables.Table:
    return nftables.Table(
        family,
        "mine",
        forwarded=[
            nftables.comes_by("a") + nftables.goes_by("b") + nftables.drop(),
            nftables.comes_by("c") + nftables.is_new() + nftables.drop(),
        ],
        leaves=[nftables.goes_by("d") + nftables.masquerade()],
    )


def test_a_table_is_what_nft_says() -> None:
    need("nft")

    def make() -> str:
        with nftables.open_netlink() as kernel:
            _table().make(kernel, owned=False)
        return _rules()

    lines = [line.strip() for line in inside(make).splitlines()]
    assert "table inet mine {" in lines
    assert 'iifname "a" oifname "b" drop' in lines
    assert 'iifname "c" ct state ! established,related drop' in lines
    assert 'oifname "d" masquerade' in lines
    assert "type filter hook forward priority filter; policy accept;" in lines
    assert "type nat hook postrouting priority srcnat; policy accept;" in lines


def test_addresses_of_both_families() -> None:
    need("nft")

    def make() -> str:
        with nftables.open_netlink() as kernel:
            for family, address in ((nftables.IPV4, bytes([192, 0, 2, 1])), (nftables.IPV6, b"\x20\x01" + bytes(14))):
                rule = nftables.comes_from(address) + nftables.masquerade()
                nftables.Table(family, "mine", leaves=[rule]).make(kernel, owned=False)
        return _rules()

    rules = inside(make)
    assert "ip saddr 192.0.2.1 masquerade" in rules
    assert "ip6 saddr 2001:: masquerade" in rules


def test_an_owned_table_goes_with_its_socket() -> None:
    need("nft")

    def make() -> tuple[str, str]:
        with nftables.open_netlink() as kernel:
            _table().make(kernel, owned=True)
            there = _rules()
        return there, _rules()

    there, gone = inside(make)
    assert "table inet mine" in there
    assert gone == ""


def test_all_of_a_table_or_nothing() -> None:
    need("nft")

    def make() -> tuple[int | None, str]:
        table = nftables.Table(nftables.INET, "mine", leaves=[nftables.masquerade(), b"\4\0\1\x80"])
        with nftables.open_netlink() as kernel, pytest.raises(OSError) as caught:
            table.make(kernel, owned=False)
        return caught.value.errno, _rules()

    assert inside(make) == (errno.EINVAL, "")


@pytest.mark.parametrize(
    ("chain", "drops"),
    [
        ("type filter hook forward priority 0; policy drop;", True),
        ("type filter hook forward priority 0; policy accept;", False),
        ("type filter hook input priority 0; policy drop;", False),
    ],
)
@pytest.mark.parametrize("family", ["ip", "inet"])
def test_a_firewall_that_drops_what_is_forwarded_is_seen(family: str, chain: str, drops: bool) -> None:
    need("nft")

    def look() -> tuple[bool, bool]:
        with nftables.open_netlink() as kernel:
            before = nftables.drops_forwarded(kernel)
            subprocess.run(["nft", f"add table {family} t; add chain {family} t c {{ {chain} }}"], check=True)
            return before, nftables.drops_forwarded(kernel)

    assert inside(look) == (False, drops)
