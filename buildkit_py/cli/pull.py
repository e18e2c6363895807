"""`pybuild pull`: fetch an image, its layers included, from its registry into the local store."""

from __future__ import annotations

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.cli.push import PROGRESS


def parser() -> Command:
    """The command's table."""
    return Command(
        "pull",
        "fetch an image from its registry",
        ("pybuild pull [options] NAME",),
        (
            Option(("--platform",), "the platform of the image", "OS/ARCH[/VARIANT]"),
            Option(("--progress",), "how progress is shown", "KIND", choices=PROGRESS),
            Option(("-q", "--quiet"), "show no progress"),
        ),
        about="The manifest's digest is printed. Builds and runs pull what they need by themselves.",
        least=1,
        most=1,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Pull, and print the digest."""
    from buildkit_py.api.transfer import pull
    from buildkit_py.cli.progress import kind_of, shown

    parsed = parse(parser(), argv)
    print(shown(kind_of(parsed), lambda emit: pull(parsed.operands[0], emit, platform=parsed.one("platform"))))
    return 0
