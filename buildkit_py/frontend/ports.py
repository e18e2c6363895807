"""What EXPOSE accepts: `[ip:][host:]port[-port][/proto]`, of which the image keeps `port/proto`."""

from __future__ import annotations

from buildkit_py import port_spec


def parse_ports(spec: str) -> tuple[str, ...]:
    """The ports of one EXPOSE word, each as `80/tcp`. Raises `ValueError` with what is wrong."""
    address, host, container = port_spec.split(spec)
    first, last, protocol = port_spec.container_ports(container, spec)
    if address and not port_spec.is_address(address):
        raise ValueError(f"`{address}` is not an IP address")
    if host:
        host_first, host_last = port_spec.port_range(host, spec)
        # A range on the host is allowed for a single port: one of the range is to be taken.
        if host_last - host_first != last - first and last != first:
            raise ValueError(f"the two port ranges of `{spec}` differ in length")
    return tuple(f"{port}/{protocol}" for port in range(first, last + 1))
