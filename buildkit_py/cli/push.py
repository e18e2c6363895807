"""`pybuild push`: send an image of the local store to its registry."""

from __future__ import annotations

from buildkit_py.cli.options import Command, Option, parse

PROGRESS = ("auto", "tty", "plain", "json", "quiet")


def parser() -> Command:
    """The command's table."""
    return Command(
        "push",
        "send an image to its registry",
        ("pybuild push [options] IMAGE",),
        (
            Option(("--progress",), "how progress is shown", "KIND", choices=PROGRESS),
            Option(("-q", "--quiet"), "show no progress"),
        ),
        about="The image's name says where it goes. Its manifest's digest is printed.",
        least=1,
        most=1,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Push, and print the digest."""
    from buildkit_py.api.transfer import push
    from buildkit_py.cli.progress import kind_of, shown

    parsed = parse(parser(), argv)
    print(shown(kind_of(parsed), lambda emit: push(parsed.operands[0], emit)))
    return 0
