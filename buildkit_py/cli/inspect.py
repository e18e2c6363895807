"""`pybuild inspect`: images' configurations as JSON, in the shape of `docker image inspect`."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "inspect",
        "show images' configurations as JSON",
        ("pybuild inspect IMAGE…",),
        about="An array with an object for each image is printed, in the shape of `docker image inspect`.",
        least=1,
        most=-1,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Print the objects."""
    import json

    from buildkit_py.api.images import inspect

    parsed = parse(parser(), argv)
    found = [inspect(name) for name in parsed.operands]
    sys.stdout.write(json.dumps(found, indent=4) + "\n")
    return 0
