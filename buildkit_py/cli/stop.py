"""`pybuild stop`: containers are asked to end, and are killed where they do not."""

from __future__ import annotations

from buildkit_py.cli.options import Command, Option, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "stop",
        "end containers, and wait until they have",
        ("pybuild stop [options] CONTAINER…",),
        (
            Option(("-s", "--signal"), "the signal, in place of the container's own", "SIGNAL"),
            Option(("-t", "--time"), "how many seconds it has before SIGKILL", "SECONDS"),
        ),
        about="One that was stopped is not started again, whatever its `--restart` says, until `pybuild start`.",
        least=1,
        most=-1,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Stop them and print their names."""
    from buildkit_py.api.containers import stop
    from buildkit_py.cli import values
    from buildkit_py.cli.each import for_each
    from buildkit_py.sandbox.signal_number import signal_number

    parsed = parse(parser(), argv)
    number = signal_number(parsed.one("signal")) if parsed.one("signal") else 0
    seconds = values.seconds(parsed.one("time"), "--time") if parsed.one("time") else -1.0
    return for_each(parsed.operands, lambda text: stop(text, signal=number, seconds=seconds))
