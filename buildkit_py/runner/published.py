"""A published port: an address and a port of this machine at which a port of a container is reached.

The supervisor of a container has the sockets (`bind`); who passes on what
comes to them is a forwarder (`runner/forwarder.py`).
"""

from __future__ import annotations

import _socket
import errno
import os

from buildkit_py import port_spec
from buildkit_py.errors import SandboxError, UsageError
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Socket: TypeAlias = _socket.socket

# Whoever wants others to reach it says so: docker's own default is every address of the machine.
DEFAULT_ADDRESS = "127.0.0.1"
_BACKLOG = 4096  # the kernel's own limit (net.core.somaxconn) is mostly this
_ANY = frozenset(("0.0.0.0", "::"))
_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}


class Published(Record):
    """`host_ip` is an address without brackets; the last of `host_ports` may be above the first: one of them that is
    free is meant, and 0 is any port that is free.
    """

    host_ip: str
    host_ports: tuple[int, int]
    container_port: int
    protocol: str = "tcp"

    def may_be(self, port: int, protocol: str) -> bool:
        """Whether it may be this port of the machine, at whatever address."""
        first, last = self.host_ports
        return self.protocol == protocol and first <= port <= last

    def __str__(self) -> str:
        first, last = self.host_ports
        ports = f"{first}-{last}" if last > first else str(first)
        return f"{_bracketed(self.host_ip)}:{ports}->{self.container_port}/{self.protocol}"


def parse_published(spec: str) -> tuple[Published, ...]:
    """What `-p [ip:][host:]container[/udp]` publishes, as docker reads it, but on 127.0.0.1 where no address is given.

    Raises `ValueError` with what is wrong.
    """
    found = port_spec.pairs(*port_spec.split(spec), spec)
    return tuple(
        [Published(address or DEFAULT_ADDRESS, host, port, protocol) for address, host, port, protocol in found]
    )


class Bound(Record):
    """A published port whose socket is there, at the `port` that it has got."""

    wanted: Published
    port: int
    socket: Socket


def bind(ports: tuple[Published, ...], container_at: Callable[[int, str], str]) -> tuple[Bound, ...]:
    """The sockets of ports, which hear from now on.

    Raises `UsageError` for a port that is taken, with who holds it: a container, if `container_at(port, protocol)`
    knows its name ("" otherwise). Raises `SandboxError` for what this user or machine cannot have.
    """
    out: list[Bound] = []
    try:
        for wanted in ports:
            out.append(_bind(wanted, out, container_at))
    except BaseException:
        for bound in out:
            bound.socket.close()
        raise
    return tuple(out)


def _bind(wanted: Published, bound: list[Bound], container_at: Callable[[int, str], str]) -> Bound:
    first, last = wanted.host_ports
    for port in range(first, last + 1):
        try:
            socket = _open(wanted, port)
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE and port < last:
                continue
            raise _refused(wanted, port, problem, bound, container_at) from problem
        return Bound(wanted, socket.getsockname()[1], socket)
    raise AssertionError("a range has a last port")


def _open(wanted: Published, port: int) -> Socket:
    family = _socket.AF_INET6 if ":" in wanted.host_ip else _socket.AF_INET
    sock = _socket.socket(family, _KINDS[wanted.protocol] | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        if wanted.protocol == "tcp":
            # Connections of a container that has ended may still be on their way out (TIME_WAIT).
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        sock.bind((wanted.host_ip, port))
        if wanted.protocol == "tcp":
            sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _refused(
    wanted: Published, port: int, problem: OSError, bound: list[Bound], container_at: Callable[[int, str], str]
) -> SandboxError | UsageError:
    place = f"{_bracketed(wanted.host_ip)}:{port}/{wanted.protocol}"
    if problem.errno == errno.EADDRINUSE:
        own = next((one for one in bound if one.port == port and _clash(one.wanted, wanted)), None)
        if own is not None:
            return UsageError(
                f"{place} is asked for twice: for {own.wanted.container_port} and for {wanted.container_port}",
                hint=f"publish another, as `{_free_form(wanted)}`, or `{wanted.container_port}` for any that is free",
            )
        from buildkit_py.runner.port_holder import holder

        name = container_at(port, wanted.protocol)
        who = f"the container `{name}`" if name else holder(port, wanted.protocol)
        return UsageError(
            f"{place} is taken by {who}",
            hint=f"publish another, as `{_free_form(wanted)}`, or `{wanted.container_port}` for any that is free",
        )
    if problem.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"{place}: this machine has no such address", hint="`ip addr` shows those that it has")
    if problem.errno == errno.EACCES:
        return SandboxError(
            f"{place}: a port below 1024 is not for an ordinary user here",
            hint=f"take one above, or as root: sysctl -w net.ipv4.ip_unprivileged_port_start={port}",
        )
    return SandboxError(f"{place} cannot be published: {os.strerror(problem.errno or 0)}")


def _clash(one: Published, other: Published) -> bool:
    """Whether two cannot have the same port: an unspecified address is all of its family."""
    if one.protocol != other.protocol or (":" in one.host_ip) != (":" in other.host_ip):
        return False
    return one.host_ip == other.host_ip or not _ANY.isdisjoint((one.host_ip, other.host_ip))


def _free_form(wanted: Published) -> str:
    suffix = "" if wanted.protocol == "tcp" else f"/{wanted.protocol}"
    return f"HOST:{wanted.container_port}{suffix}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
