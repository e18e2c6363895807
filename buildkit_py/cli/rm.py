"""`pybuild rm`: containers with all that they wrote go."""

from __future__ import annotations

from buildkit_py.cli.options import Command, Option, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "rm",
        "remove containers with all they wrote",
        ("pybuild rm [options] CONTAINER…",),
        (Option(("-f", "--force"), "also those that run: they are killed first"),),
        least=1,
        most=-1,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Remove them and print their names."""
    from buildkit_py.api.containers import remove
    from buildkit_py.cli.each import for_each

    parsed = parse(parser(), argv)
    return for_each(parsed.operands, lambda text: remove(text, force=parsed.has("force")))
