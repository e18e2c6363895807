"""`pybuild wait`: until containers have ended for good."""

from __future__ import annotations

from buildkit_py.cli.options import Command, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "wait",
        "wait until containers have ended, and print their exit codes",
        ("pybuild wait CONTAINER…",),
        about="One that is started again and again has not ended. Of one that ended before it is the last code.",
        least=1,
        most=-1,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Print the exit code of each, a line each, in the order in which they are named."""
    from buildkit_py.api.containers import wait
    from buildkit_py.cli.each import for_each

    return for_each(parse(parser(), argv).operands, wait)
