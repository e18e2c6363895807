"""`pybuild commit`: an image of what a container wrote."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "commit",
        "make an image of a container with what it wrote",
        ("pybuild commit [options] CONTAINER [NAME]",),
        (
            Option(("-c", "--change"), "change the configuration by an instruction", "INSTRUCTION", many=True),
            Option(("-m", "--message"), "say in the image's history what this is", "TEXT"),
            Option(("-a", "--author"), "say who made it", "TEXT"),
        ),
        about=(
            "What is in volumes and in memory is no part of it. A container that runs stands still meanwhile. The "
            "configuration is its image's; INSTRUCTION is a CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, "
            "STOPSIGNAL, USER, VOLUME or WORKDIR of a Buildfile. Without NAME the image has none."
        ),
        examples=(
            ("pybuild commit web shop:patched", "keep what was tried out"),
            ("pybuild commit -c 'CMD [\"serve\"]' -m 'with the fix' web shop:patched", "with another command"),
        ),
        least=1,
        most=2,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Make it and print its digest."""
    from buildkit_py.api.commit import commit
    from buildkit_py.cli.notices import say

    parsed = parse(parser(), argv)
    container, name = (*parsed.operands, "")[:2]
    made = commit(
        container,
        name,
        changes=parsed.all("change"),
        message=parsed.one("message"),
        author=parsed.one("author"),
        emit=say,
    )
    if not made.whole:
        sys.stderr.write(
            "warning: not all of the container would stand still; what it wrote meanwhile may be there in part\n"
        )
    sys.stdout.write(f"{made.image}\n")
    return 0
