"""What EXPOSE accepts: `[ip:][host:]port[-port][/proto]`, of which the image keeps `port/proto`."""

from __future__ import annotations

_PROTOCOLS = ("tcp", "udp", "sctp")


def parse_ports(spec: str) -> tuple[str, ...]:
    """The ports of one EXPOSE word, each as `80/tcp`. Raises `ValueError` with what is wrong."""
    address, host, container = split_port(spec)
    ports, _, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    if not ports:
        raise ValueError(f"no port in `{spec}`")
    if protocol not in _PROTOCOLS:
        raise ValueError(f"unknown protocol `{protocol}` in `{spec}` (one of {', '.join(_PROTOCOLS)})")
    if address and not _is_address(address):
        raise ValueError(f"`{address}` is not an IP address")
    first, last = _range(ports, spec)
    if host:
        host_first, host_last = _range(host, spec)
        # A range on the host is allowed for a single port: one of the range is to be taken.
        if host_last - host_first != last - first and last != first:
            raise ValueError(f"the two port ranges of `{spec}` differ in length")
    return tuple(f"{port}/{protocol}" for port in range(first, last + 1))


def split_port(spec: str) -> tuple[str, str, str]:
    parts = spec.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _range(text: str, spec: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    bounds = (low, high if dash else low)
    if not all(bound.isascii() and bound.isdigit() and int(bound) <= 65535 for bound in bounds):
        where = f" in `{spec}`" if spec != text else ""
        raise ValueError(f"`{text}`{where} is not a port: a number from 0 to 65535, or a range such as 8000-8002")
    first, last = int(bounds[0]), int(bounds[1])
    if last < first:
        raise ValueError(f"the port range `{text}` in `{spec}` ends before it begins")
    return first, last


def _is_address(text: str) -> bool:
    import socket  # the only place that needs it, and almost no Buildfile gets here

    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False
