"""What `-p` means, and who is told to hold a port that is taken."""

from __future__ import annotations

import os
import socket

import pytest

from buildkit_py.errors import SandboxError, UsageError
from buildkit_py.runner.published import Published, bind, parse_published


def nobody(port: int, protocol: str) -> str:
    return ""


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        ("80", [("127.0.0.1", (0, 0), 80, "tcp")]),
        ("80/udp", [("127.0.0.1", (0, 0), 80, "udp")]),
        ("8080:80", [("127.0.0.1", (8080, 8080), 80, "tcp")]),
        ("8080:80/TCP", [("127.0.0.1", (8080, 8080), 80, "tcp")]),
        ("0.0.0.0:8080:80", [("0.0.0.0", (8080, 8080), 80, "tcp")]),
        ("192.0.2.1::80", [("192.0.2.1", (0, 0), 80, "tcp")]),
        ("[::1]:8080:80", [("::1", (8080, 8080), 80, "tcp")]),
        ("::1:8080:80", [("::1", (8080, 8080), 80, "tcp")]),
        ("8000-8001:80-81", [("127.0.0.1", (8000, 8000), 80, "tcp"), ("127.0.0.1", (8001, 8001), 81, "tcp")]),
        ("80-81", [("127.0.0.1", (0, 0), 80, "tcp"), ("127.0.0.1", (0, 0), 81, "tcp")]),
        ("8000-8010:80", [("127.0.0.1", (8000, 8010), 80, "tcp")]),
    ],
)
def test_forms(spec: str, ports: list[tuple[str, tuple[int, int], int, str]]) -> None:
    assert [port.values() for port in parse_published(spec)] == ports


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "no port in ``"),
        ("x", "`x` is not a port: a number from 0 to 65535, or a range such as 8000-8002"),
        ("0", "no port in `0`: 0 is none that a container listens on"),
        ("99999:80", "`99999` in `99999:80` is not a port: a number from 0 to 65535, or a range such as 8000-8002"),
        ("80:80/sctp", "`sctp` in `80:80/sctp` cannot be published: tcp and udp can"),
        ("80:80/abc", "unknown protocol `abc` in `80:80/abc` (one of tcp, udp, sctp)"),
        ("here:80:80", "`here` in `here:80:80` is not an IP address"),
        ("8000-8005:80-81", "the two port ranges of `8000-8005:80-81` differ in length"),
        ("82-81", "the port range `82-81` in `82-81` ends before it begins"),
    ],
)
def test_what_is_wrong(spec: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_published(spec)
    assert str(caught.value) == message


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_port_that_is_taken_names_its_holder(protocol: str, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as taken:
        taken.bind((address, 0))
        if protocol == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        with open("/proc/self/comm") as file:
            me = f"process {os.getpid()} ({file.read().strip()})"
        wanted = Published(address, (port, port), 80, protocol)
        with pytest.raises(UsageError) as caught:
            bind((wanted,), nobody)
        assert caught.value.message.endswith(f":{port}/{protocol} is taken by {me}")
        with pytest.raises(UsageError, match="is taken by the container `web`"):
            bind((wanted,), lambda asked, kind: "web" if (asked, kind) == (port, protocol) else "")


def test_one_of_a_range_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if port > 65000:
            pytest.skip("too near to the end of all ports")
        (bound,) = bind((Published("127.0.0.1", (port, port + 500), 80),), nobody)
        assert port < bound.port <= port + 500
        bound.socket.close()


def test_one_that_cannot_be_had_lets_the_others_go() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(UsageError, match="this machine has no such address"):
        bind((Published("127.0.0.1", (port, port), 80), Published("192.0.2.77", (0, 0), 81)), nobody)
    (bound,) = bind((Published("127.0.0.1", (port, port), 80),), nobody)
    bound.socket.close()


def test_a_low_port_is_not_for_everybody() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may have it")
    with pytest.raises(SandboxError, match="below 1024"):
        bind((Published("127.0.0.1", (81, 81), 80),), nobody)
