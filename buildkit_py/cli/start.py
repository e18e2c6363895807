"""`pybuild start`: containers that have ended run again, on the files that they left."""

from __future__ import annotations

from buildkit_py.cli.options import Command, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "start",
        "start containers that have ended",
        ("pybuild start CONTAINER…",),
        about="They run what they ran before, on the files that they left. Nothing starts them when the machine does.",
        least=1,
        most=-1,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Start them and print their names."""
    from buildkit_py.api.containers import find, start
    from buildkit_py.cli.each import for_each

    def one(text: str) -> str:
        name = find(text)[0].name
        start(text)
        return name

    return for_each(parse(parser(), argv).operands, one)
