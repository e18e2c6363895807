"""`pybuild cp`: files from a container to here, or from here into one."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.container_copy import Side


def parser() -> Command:
    """The command's table."""
    return Command(
        "cp",
        "copy files between a container and here",
        ("pybuild cp [options] CONTAINER:PATH DEST|-", "pybuild cp [options] SOURCE|- CONTAINER:PATH"),
        (
            Option(("-a", "--archive"), "keep owners, as numbers"),
            Option(("-L", "--follow-link"), "copy what a link leads to that is named as the source"),
        ),
        about=(
            "The container runs or does not. A directory is copied with all that is in it; with `/.` at its end, only "
            "what is in it. Where the destination is a directory the copy goes into it, else it gets that name; the "
            "directory above has to be there. `-` is a tar on standard input or output. Paths in the container start "
            "at its root."
        ),
        examples=(
            ("pybuild cp web:/var/log/app.log .", "a file to here"),
            ("pybuild cp conf/. web:/etc/app", "what is in a directory, into another"),
            ("pybuild cp web:/srv - | tar t", "look at what there is"),
        ),
        least=2,
        most=2,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Copy, and say what could not be."""
    from buildkit_py.api.container_copy import copy
    from buildkit_py.cli.notices import say
    from buildkit_py.report.escape import visible

    parsed = parse(parser(), argv)
    source, dest = [_side(text) for text in parsed.operands]
    copied = copy(source, dest, archive=parsed.has("archive"), follow=parsed.has("follow-link"), emit=say)
    if copied.left_out:
        more = ", …" if len(copied.left_out) > 1 else ""
        count = f"{len(copied.left_out)} devices or sockets were" if more else "a device or socket was"
        sys.stderr.write(f"warning: {count} left out: {visible(copied.left_out[0])}{more}\n")
    if copied.owners_lost:
        sys.stderr.write(f"warning: {copied.owners_lost} owners could not be kept: they do not exist in there\n")
    return 0


def _side(text: str) -> Side:
    """As docker has it: what begins with `/` or `.` is a path here, colon or not."""
    from buildkit_py.api.container_copy import Side

    container, colon, path = text.partition(":")
    if not colon or not container or text.startswith(("/", ".")) or "/" in container:
        return Side("", text)
    return Side(container, path)
