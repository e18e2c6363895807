"""The port specification that EXPOSE and `-p` share: `[ip:][host:]port[-port][/protocol]`, as docker writes it."""

from __future__ import annotations

PUBLISHED = ("tcp", "udp")
PROTOCOLS = (*PUBLISHED, "sctp")


def split(spec: str) -> tuple[str, str, str]:
    """Its three parts: address, ports of the host, ports of the container with the protocol; "" for one left out."""
    parts = spec.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def port_range(text: str, spec: str) -> tuple[int, int]:
    """First and last port of `80` or `80-85`. Raises `ValueError` with what is wrong, in words about `spec`."""
    low, dash, high = text.partition("-")
    bounds = (low, high if dash else low)
    if not all(bound.isascii() and bound.isdigit() and int(bound.lstrip("0")[:6] or "0") <= 65535 for bound in bounds):
        where = f" in `{spec}`" if spec != text else ""
        raise ValueError(f"`{text}`{where} is not a port: a number from 0 to 65535, or a range such as 8000-8002")
    first, last = (int(bound.lstrip("0") or "0") for bound in bounds)
    if last < first:
        raise ValueError(f"the port range `{text}` in `{spec}` ends before it begins")
    return first, last


def container_ports(text: str, spec: str) -> tuple[int, int, str]:
    """First and last port, and the protocol, of `80-85/udp`. Raises `ValueError`."""
    ports, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if not ports:
        raise ValueError(f"no port in `{spec}`")
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol `{protocol}` in `{spec}` (one of {', '.join(PROTOCOLS)})")
    return *port_range(ports, spec), protocol


def pairs(address: str, host: str, container: str, spec: str) -> list[tuple[str, tuple[int, int], int, str]]:
    """Each port of a container that the three parts of a `spec` publish.

    They are (address without brackets, first and last port of the host, port of the container, protocol): ranges of one
    length are paired, one port of a container is at any port of a range, and where no `host` is said at any at all,
    which is (0, 0). Raises `ValueError` with what is wrong, in words about `spec`.
    """
    first, last, protocol = container_ports(container, spec)
    if protocol not in PUBLISHED:
        raise ValueError(f"`{protocol}` in `{spec}` cannot be published: tcp and udp can")
    if first == 0:
        raise ValueError(f"no port in `{spec}`: 0 is none that a container listens on")
    if address and not is_address(address):
        raise ValueError(f"`{address}` in `{spec}` is not an IP address")
    address = address.strip("[]")
    low, high = port_range(host, spec) if host else (0, 0)
    if first == last:
        return [(address, (low, high), first, protocol)]
    if host and high - low != last - first:
        raise ValueError(f"the two port ranges of `{spec}` differ in length")
    step = 1 if host else 0
    return [(address, (low + step * i, low + step * i), first + i, protocol) for i in range(last - first + 1)]


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address; one in brackets, too."""
    import socket  # the only place that needs it, and almost nobody gets here

    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False
