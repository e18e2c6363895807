"""The /etc/resolv.conf and /etc/hosts that a sandbox sees.

Generated, not copied: comments and other lines of this machine's files would
reach the step, and through what it writes, its result.
"""

from __future__ import annotations

from buildkit_py.errors import UsageError

_FALLBACK = ("8.8.8.8", "8.8.4.4")  # what docker uses when nothing usable is configured
_STUB_UPSTREAM = "/run/systemd/resolve/resolv.conf"  # systemd-resolved's file without its loopback stub
_KEPT = ("search", "options", "domain")


def resolv_conf(*, network: str = "host", path: str = "/etc/resolv.conf", upstream: str = _STUB_UPSTREAM) -> bytes:
    """The file for a sandbox on `network` ("host" or "none").

    With the host's network its loopback name servers work and are kept. In a
    network namespace of its own they would not: then `upstream` is read in
    their place, and failing that, docker's defaults are given.
    """
    servers, rest = _parse(path)
    if network != "host":
        usable = [server for server in servers if not _is_loopback(server)]
        if servers and not usable:
            usable = [server for server in _parse(upstream)[0] if not _is_loopback(server)]
        servers = usable or list(_FALLBACK)
    return "".join([f"nameserver {server}\n" for server in servers] + rest).encode()


def hosts_file(hostname: str = "buildkitsandbox", extra: tuple[tuple[str, str], ...] = ()) -> bytes:
    """The hosts file of a step: localhost, its own name, and `extra` pairs of name and address (`--add-host`).

    Raises `UsageError` for a name or address that would break the line.
    """
    lines = [f"127.0.0.1\tlocalhost {hostname}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    for name, address in extra:
        if not name or not address or any(ch.isspace() or ch == "#" for ch in name + address):
            raise UsageError(f"not a host name and an address: {name!r} {address!r}")
        lines.append(f"{address}\t{name}")
    return ("\n".join(lines) + "\n").encode()


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


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server.split("%", maxsplit=1)[0] == "::1"
