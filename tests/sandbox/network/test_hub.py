"""The hub: who hears whom, and whether a namespace is as new."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.network import netlink
from buildkit_py.sandbox.network.backlog import waits_for
from buildkit_py.sandbox.network.hub import Connected, Hub
from buildkit_py.sandbox.network.namespace import State
from buildkit_py.sandbox.network.plan import HUB, LAST, OUTER, SERVICES, Plan, as_text
from buildkit_py.sandbox.network.uplink import UPLINK
from tests.sandbox.network.inside import inside

PLAN = Plan(uplinks=(), missing=(), ipv4=(10, 219), ipv6=True, mtu=1500, relayed=(), resolv_conf=b"", privileged=True)


def _hub() -> Hub:
    hub = Hub(PLAN, 1500)
    hub.furnish()
    hub.open((), 1500, ipv6=True)
    return hub


def _within(hub: Hub, connected: Connected, function: Callable[[], Any]) -> Any:
    syscalls.setns(connected.namespace, syscalls.CLONE_NEWNET)
    try:
        return function()
    finally:
        syscalls.setns(hub.namespace, syscalls.CLONE_NEWNET)


def _listen(address: str = "0.0.0.0") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.bind((address, 7000))
    sock.listen()
    return sock


def _connects(address: str, patience: float = 30) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(patience)
        try:
            sock.connect((address, 7000))
        except OSError:
            return False
        return True


def test_sandboxes_hear_the_hub_and_not_each_other() -> None:
    def look() -> list[bool]:
        hub = _hub()
        one, two = hub.connect(2), hub.connect(3)
        keep = [_listen("::")]  # of both families, in the hub
        keep.append(_within(hub, two, lambda: _listen("::")))
        to_hub = [_within(hub, one, lambda a=a: _connects(a)) for a in ("10.219.0.1", "fd70:7962:7569:1::1")]
        to_other = [_within(hub, one, lambda a=a: _connects(a, 1)) for a in ("10.219.0.3", "fd70:7962:7569:1::3")]
        to_itself = [_within(hub, two, lambda a=a: _connects(a)) for a in ("10.219.0.3", "fd70:7962:7569:1::3")]
        return to_hub + to_other + to_itself

    assert inside(look) == [True, True, False, False, True, True]


def test_the_first_packet_arrives() -> None:
    """Also when a sandbox starts as soon as its namespace is there."""

    def look() -> int:
        hub = _hub()
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as heard:
            heard.bind(("::", 7000))
            heard.settimeout(5)

            def call(address: str) -> None:
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                    sock.sendto(b"x", (address, 7000))

            for number in range(2, 22):
                address = ("fd70:7962:7569:1::1", "::ffff:10.219.0.1")[number % 2]
                _within(hub, hub.connect(number), lambda address=address: call(address))
                heard.recv(10)
        return number

    assert inside(look) == 21


# Of a world that the hub has on its loopback.
_WORLD, _WORLD_IPV6 = "203.0.113.10", "2001:db8:1::10"


def _closed_hub() -> Hub:
    """A hub that does not lead out yet, and a world in it that sandboxes reach by it."""
    hub = Hub(PLAN, 1500)
    hub.furnish()
    assert os.system(f"ip addr add {_WORLD}/32 dev lo; ip -6 addr add {_WORLD_IPV6}/128 dev lo nodad") == 0
    return hub


def _waits(connected: Connected) -> bool:
    return waits_for(connected.netlink.fileno(), (PLAN.address(HUB), PLAN.ipv6_address(HUB)))


def _hearing() -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.bind(("::", 7000))
    sock.settimeout(30)
    return sock


def _say(address: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (address, 7000))


def _is_readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


@pytest.mark.parametrize("address", [f"::ffff:{_WORLD}", _WORLD_IPV6])
@pytest.mark.parametrize("seconds", [0.0, 4.0], ids=["at-once", "longer-than-a-neighbour-is-asked"])
def test_what_is_sent_before_there_is_a_way_out_waits_for_it(address: str, seconds: float) -> None:
    def look() -> list[bool]:
        hub = _closed_hub()
        connected = hub.connect(2)
        heard = _hearing()
        before = _waits(connected)
        _within(hub, connected, lambda: _say(address))
        waits = _waits(connected)
        time.sleep(seconds)
        arrived = _is_readable(heard)
        hub.open((), 1500, ipv6=True)
        hub.let_out(2, connected)
        return [before, waits, arrived, heard.recv(10) == b"x", _waits(connected)]

    assert inside(look) == [False, True, False, True, False]


@pytest.mark.parametrize("address", [f"::ffff:{_WORLD}", _WORLD_IPV6])
def test_a_connection_that_is_begun_before_there_is_a_way_out_comes_about(address: str) -> None:
    def look() -> bytes:
        hub = _closed_hub()
        connected = hub.connect(2)
        listener = _listen("::")
        listener.settimeout(30)

        def begin() -> socket.socket:
            sock = socket.socket(socket.AF_INET6)
            sock.setblocking(False)
            sock.connect_ex((address, 7000))
            return sock

        begun = _within(hub, connected, begin)
        assert _waits(connected)
        hub.open((), 1500, ipv6=True)
        hub.let_out(2, connected)
        accepted, _ = listener.accept()
        accepted.sendall(b"hello")
        begun.settimeout(30)
        said: bytes = begun.recv(10)
        return said

    assert inside(look) == b"hello"


def test_the_hub_answers_for_itself_only_when_there_is_a_way_out() -> None:
    """A sandbox asks once a second where the hub is, maybe in the midst of this: what it then sends has to lead on."""

    def look() -> list[tuple[bool, bool]]:
        hub = _closed_hub()
        assert os.system(f"ip link add {UPLINK} type veth peer name machine && ip link set machine up") == 0
        seen: list[tuple[bool, bool]] = []
        ask = hub._netlink.ask

        def spy(*messages: netlink.Message) -> None:
            ask(*messages)
            leads_out = bool(os.popen("ip route show default").read())
            seen.append((netlink.is_local(hub._netlink, PLAN.address(HUB)), leads_out))

        hub._netlink.ask = spy
        own, other = PLAN.address(OUTER + 2), PLAN.address(OUTER + 1)
        hub.open(((own, other, 30),), 1500, ipv6=False)
        return seen

    seen = inside(look)
    assert (True, False) not in seen
    assert seen[-1] == (True, True)


def test_a_network_is_the_same_whether_it_was_connected_before_there_was_a_way_out_or_after() -> None:
    def look() -> list[str]:
        hub = _closed_hub()
        early = hub.connect(2)
        hub.open((), 1400, ipv6=True)
        hub.let_out(2, early)
        late = hub.connect(3)

        def see() -> str:
            commands = "ip addr show eth0; ip route; ip -6 route; ip neigh; ip -6 neigh; ip ntable show dev eth0"
            found = os.popen(commands).read()
            return re.sub(r"inet6 fe80.*\n.*\n|(qlen|@if|refcnt|reachable) ?\d+", "", found)

        return [_within(hub, early, see), _within(hub, late, see).replace("0.3", "0.2").replace("::3", "::2")]

    early, late = [text.replace("02:70:62:00:00:03", "02:70:62:00:00:02") for text in inside(look)]
    assert early == late
    assert "mtu 1400" in early
    assert "PERMANENT" in early


def test_a_way_out_that_takes_less_than_the_one_that_was_foreseen() -> None:
    """The one that was to be had no success: the next has no IPv6, and takes smaller packets."""

    def look() -> tuple[bool, str, int, bool]:
        hub = _closed_hub()
        connected = hub.connect(2)

        def begin() -> socket.socket:
            sock = socket.socket(socket.AF_INET6)
            sock.setblocking(False)
            sock.connect_ex(("2001:db8:2::1", 7000))
            return sock

        begun = _within(hub, connected, begin)
        heard = _hearing()
        _within(hub, connected, lambda: _say(f"::ffff:{_WORLD}"))
        hub.open((), 1300, ipv6=False)
        hub.let_out(2, connected)
        arrived = heard.recv(10) == b"x"
        select.select([], [begun], [], 30)
        refused = begun.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        seen = _within(hub, connected, lambda: os.popen("ip -6 route").read())
        link = _within(hub, connected, lambda: os.popen("ip link show eth0").read())
        return arrived, seen, refused, "mtu 1300" in link

    arrived, routes, refused, small = inside(look)
    assert arrived
    assert small
    assert "eth0" not in routes
    assert refused in (errno.ENETUNREACH, errno.EHOSTUNREACH)


def test_one_that_has_taken_its_interface_away_is_no_hindrance() -> None:
    def look() -> bool:
        hub = _closed_hub()
        one, two = hub.connect(2), hub.connect(3)
        _within(hub, one, lambda: os.system("ip link del eth0"))
        heard = _hearing()
        _within(hub, two, lambda: _say(f"::ffff:{_WORLD}"))
        hub.open((), 1500, ipv6=True)
        hub.let_out(2, one)
        hub.let_out(3, two)
        return heard.recv(10) == b"x"

    assert inside(look)


def test_nothing_gets_from_one_to_the_other_by_way_of_the_hub() -> None:
    """A sandbox that has the rights to sets a route to its neighbour by the hub."""

    def look() -> bool:
        hub = _hub()
        one, two = hub.connect(2), hub.connect(3)
        keep = _within(hub, two, _listen)
        _within(hub, one, lambda: os.system("ip route replace 10.219.0.3/32 via 10.219.0.1"))
        reached: bool = _within(hub, one, lambda: _connects("10.219.0.3", 1))
        keep.close()
        return reached

    assert inside(look) is False


def test_services_are_reached_by_all_and_nobody_else_is() -> None:
    """Who may answer a service may be reached by it, as the kernel's bridge has it: its port is no isolated one."""

    def look() -> list[list[bool]]:
        hub = _hub()
        numbers = (2, 3, SERVICES, LAST)
        all_of = {number: hub.connect(number) for number in numbers}
        kept = [_within(hub, connected, lambda: _listen("::")) for connected in all_of.values()]
        found = []
        for source in numbers:
            addresses = [as_text(PLAN.address(number)) for number in numbers]
            found.append([_within(hub, all_of[source], lambda a=a: _connects(a, 1)) for a in addresses])
            addresses = [as_text(PLAN.ipv6_address(number)) for number in numbers]
            assert found[-1] == [_within(hub, all_of[source], lambda a=a: _connects(a, 1)) for a in addresses]
        for sock in kept:
            sock.close()
        return found

    yes, no = True, False
    assert inside(look) == [[yes, no, yes, yes], [no, yes, yes, yes], [yes] * 4, [yes] * 4]


def test_one_that_forges_the_address_of_another_gets_nothing_of_its_traffic() -> None:
    """It may send what it likes on its own wire (CAP_NET_RAW), and the bridge does not believe it."""

    def look() -> tuple[bytes, bytes]:
        hub = _hub()
        one, two = hub.connect(2), hub.connect(3)

        def forge() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
                sock.bind(("eth0", 0))
                for _ in range(20):
                    sock.send(b"\x02pb\0\0\x01" + b"\x02pb\0\0\x03" + b"\x88\xb5" + bytes(46))

        def hear() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("0.0.0.0", 7000))
            sock.settimeout(1)
            return sock

        def tap() -> socket.socket:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
            sock.settimeout(1)
            return sock

        heard, tapped = _within(hub, two, hear), _within(hub, one, tap)
        time.sleep(0.5)  # what the kernel of the other says by itself is said
        _within(hub, one, forge)
        time.sleep(0.5)  # a bridge that believed it would have learnt by now
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"for two", ("10.219.0.3", 7000))
        got = heard.recv(100)
        stolen = b""
        try:
            while b"for two" not in stolen:
                stolen = tapped.recv(100)
        except TimeoutError:
            stolen = b""
        return got, stolen

    assert inside(look) == (b"for two", b"")


def _used(use: Callable[[], object]) -> bool:
    """Whether a namespace is as new after `use`."""

    def look() -> bool:
        hub = _hub()
        connected = hub.connect(2)
        kept = _within(hub, connected, use)
        deadline = time.monotonic() + 3
        # Of a socket of netlink the kernel lets go a moment after it is closed.
        while not (new := State(connected.namespace, hub.namespace).is_as_new()) and time.monotonic() < deadline:
            time.sleep(0.05)
        del kept
        return new

    answer: bool = inside(look)
    return answer


def _datagram(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (address, 9))


def test_what_was_not_used_is_as_new() -> None:
    assert _used(lambda: time.sleep(1.5)), "what the kernel sends by itself does not count"
    assert _used(lambda: socket.socket().close())


def test_what_was_sent_is_remembered() -> None:
    assert not _used(lambda: _datagram("10.219.0.1"))
    assert not _used(lambda: _datagram("fd70:7962:7569:1::1"))
    assert not _used(lambda: _datagram("127.0.0.1")), "not even to itself"


def test_a_socket_that_is_left_is_seen() -> None:
    assert not _used(_listen)


def test_a_number_can_come_again() -> None:
    def look() -> list[str]:
        hub = _hub()
        for _ in range(3):
            hub.disconnect(2, hub.connect(2))
        with open("/proc/thread-self/net/dev") as file:
            return sorted(line.partition(":")[0].strip() for line in file if ":" in line)

    assert inside(look) == ["lo", "sandboxes"]
