"""`pybuild port`: where the ports of a container are reached."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, parse
from buildkit_py.errors import UsageError


def parser() -> Command:
    """The command's table."""
    return Command(
        "port",
        "show where the ports of a container are reached",
        ("pybuild port CONTAINER [PORT[/udp]]",),
        about="With a PORT only its address, of which there may be several; the exit code is 2 where it has none.",
        least=1,
        most=2,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Print the published ports of a container, a line each."""
    from buildkit_py.api.containers import find

    parsed = parse(parser(), argv)
    name, *wanted = parsed.operands
    about, state = find(name)
    rows = [(f"{inner}/{kind}", _address(ip, port)) for ip, port, inner, kind in state.ports]
    if wanted:
        port = wanted[0].lower() if "/" in wanted[0] else wanted[0] + "/tcp"
        found = [address for inner, address in rows if inner == port]
        if not found:
            raise UsageError(
                f"the port {port} of the container `{about.name}` is not published",
                hint="`pybuild port` without a PORT shows those that are, while it runs",
            )
        sys.stdout.write("".join([address + "\n" for address in found]))
    else:
        sys.stdout.write("".join([f"{inner} -> {address}\n" for inner, address in rows]))
    return 0


def _address(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
