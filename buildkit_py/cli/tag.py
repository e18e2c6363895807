"""`pybuild tag`: another name for an image."""

from __future__ import annotations

from buildkit_py.cli.options import Command, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "tag",
        "give an image another name",
        ("pybuild tag IMAGE NAME",),
        about="A name that another image had is taken from it.",
        least=2,
        most=2,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Add the name."""
    from buildkit_py.api.images import tag

    parsed = parse(parser(), argv)
    tag(*parsed.operands)
    return 0
