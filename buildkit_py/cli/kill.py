"""`pybuild kill`: a signal for the first process of containers."""

from __future__ import annotations

from buildkit_py.cli.options import Command, Option, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "kill",
        "send containers a signal",
        ("pybuild kill [options] CONTAINER…",),
        (Option(("-s", "--signal"), "the signal (KILL)", "SIGNAL"),),
        about=(
            "The first process of a container is process 1 of its namespace: what it has no handler for it does not "
            "notice, except KILL and STOP. Of KILL and the container's own stop signal it is not started again."
        ),
        least=1,
        most=-1,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Send it and print their names."""
    from buildkit_py.api.containers import kill
    from buildkit_py.cli.each import for_each
    from buildkit_py.sandbox.signal_number import signal_number

    parsed = parse(parser(), argv)
    number = signal_number(parsed.one("signal", "KILL"))
    return for_each(parsed.operands, lambda text: kill(text, number))
