"""`pybuild update`: pin what the names of a Buildfile stand for now, and show what moved."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse

# Of `pybuild build`, the options that decide which names there are and how they are asked for.
_SHARED = frozenset(("file", "target", "build-arg", "build-context", "secret", "platform", "progress", "quiet"))


def parser() -> Command:
    """The command's table."""
    from buildkit_py.cli import build

    shared = tuple(option for option in build.parser().options if option.key in _SHARED)
    return Command(
        "update",
        "pin what images, refs and URLs stand for, in pybuild.lock",
        ("pybuild update [options] FILE|DIRECTORY [NAME…]",),
        (*shared, Option(("-n", "--dry-run"), "write nothing, show what would move")),
        about=(
            "Asks the registries and servers what every image, git ref and URL stands for that the targets name, and "
            "writes it to pybuild.lock beside the Buildfile. With NAMEs, only these move. Builds of that directory use "
            "what is written, until the next update. What moved is printed, a line each."
        ),
        examples=(
            ("pybuild update .", "pin everything, or move every pin to what it is now"),
            ("pybuild update . debian:trixie", "move one pin"),
        ),
        least=1,
        most=-1,
        operands="file",
    )


def main(argv: list[str]) -> int:
    """Update; the code is 0 whether or not something moved."""
    from buildkit_py.api.update import update
    from buildkit_py.cli.build_request import build_request
    from buildkit_py.cli.locate import here
    from buildkit_py.cli.progress import kind_of, shown

    parsed = parse(parser(), argv)
    names = parsed.operands[1:]
    del parsed.operands[1:]
    request = build_request(parsed, os.environ, here())
    done = shown(kind_of(parsed), lambda emit: update(request, names, emit, write=not parsed.has("dry-run")))
    for move in done.moves:
        if not move.before:
            sys.stdout.write(f"{move.name} is {move.after}\n")
        elif not move.after:
            sys.stdout.write(f"{move.name} is not needed any more\n")
        else:
            sys.stdout.write(f"{move.name} moved from {move.before} to {move.after}\n")
    if not done.moves:
        sys.stderr.write(f"nothing moved: {done.pins} pins\n")
    return 0
