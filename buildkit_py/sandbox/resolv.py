"""The /etc/resolv.conf and /etc/hosts that a sandbox sees.

Generated, not copied: comments and other lines of this machine's files would
reach the step, and through what it writes, its result. Only a container on
this machine's network gets its hosts file, too.
"""

from __future__ import annotations

from buildkit_py.errors import UsageError

_FALLBACK = ("8.8.8.8", "8.8.4.4")  # what docker uses when nothing usable is configured
_STUB_UPSTREAM = "/run/systemd/resolve/resolv.conf"  # systemd-resolved's file without its loopback stub
_KEPT = ("search", "options", "domain")
HOST_GATEWAY = "host-gateway"
"""In place of an address in a hosts file, docker's word for one of this machine that a container reaches."""


def resolv_conf(
    *,
    network: str = "host",
    path: str = "/etc/resolv.conf",
    upstream: str = _STUB_UPSTREAM,
    servers: tuple[str, ...] = (),
) -> bytes:
    """The file for a sandbox on `network` ("host" or "none"), with `servers` in place of this machine's, if given.

    With the host's network its loopback name servers work and are kept. In a
    network namespace of its own they would not: then `upstream` is read in
    their place, and failing that, docker's defaults are given.
    """
    found, rest = _parse(path)
    servers = servers or tuple(found)
    if network != "host":
        usable = [server for server in servers if not is_local(server)]
        if servers and not usable:
            usable = [server for server in _parse(upstream)[0] if not is_local(server)]
        servers = tuple(usable) or _FALLBACK
    return "".join([f"nameserver {server}\n" for server in servers] + rest).encode()


def name_servers(path: str = "/etc/resolv.conf") -> list[str]:
    """The name servers of this machine, in the order in which they are asked."""
    return _parse(path)[0]


def hosts_file(hostname: str = "buildkitsandbox", extra: tuple[tuple[str, str], ...] = ()) -> bytes:
    """The hosts file of a step: localhost, its own name, and `extra` pairs of name and address (`--add-host`).

    Nothing of this machine's own file, which would differ elsewhere.

    Raises `UsageError` for a name or address that would break the line, and for `HOST_GATEWAY` where there is none.
    """
    lines = [f"127.0.0.1\tlocalhost {hostname}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    for name, address in extra:
        address = _own_address() if address == HOST_GATEWAY else address
        if not name or not address or any(ch.isspace() or ch == "#" for ch in name + address):
            raise UsageError(f"not a host name and an address: {name!r} {address!r}")
        lines.append(f"{address}\t{name}")
    return ("\n".join(lines) + "\n").encode()


def with_machines(hosts: bytes | None, path: str = "/etc/hosts") -> bytes:
    """The hosts file of a container on this machine's network: what the machine's own file has is behind its own lines.

    It reaches what the machine reaches, under the same names, as under docker.
    """
    try:
        with open(path, "rb") as file:
            return (hosts or b"") + file.read()
    except OSError:
        return hosts or b""


def reached_at(hosts: bytes | None, hostname: str, address: str) -> bytes:
    """The hosts file of a container that others reach at an address: there, and not on its loopback, it has its name.

    What listens where its own name leads to, or tells others of that, is found by them then.
    """
    found = hosts or b""
    own = f"127.0.0.1\tlocalhost {hostname}\n".encode()
    if not found.startswith(own):
        return found
    return b"127.0.0.1\tlocalhost\n" + found[len(own) :] + f"{address}\t{hostname}\n".encode()


def _own_address() -> str:
    """The address of this machine that it has to the world, which any network of a sandbox but none reaches."""
    import socket

    # A socket of UDP that is connected sends nothing, and knows which address it would send from. These far ones are
    # for documentation (RFC 5737, RFC 3849), and so nobody's.
    for family, far in ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((far, 9))
                return str(sock.getsockname()[0])
        except OSError:
            continue
    raise UsageError(
        f"`{HOST_GATEWAY}` is an address of this machine, which has none: there is no way out of it",
        hint="name an address that is reached",
    )


def _parse(path: str) -> tuple[list[str], list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return [], []
    servers, rest = [], []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            servers.append(words[1])
        elif len(words) >= 2 and words[0] in _KEPT:
            rest.append(" ".join(words) + "\n")
    return servers, rest


def is_local(server: str) -> bool:
    """Whether only this machine itself reaches a name server: it is its own, or of one link (`fe80::1%eth0`)."""
    return server.startswith("127.") or server == "::1" or "%" in server or server.lower().startswith("fe80:")
