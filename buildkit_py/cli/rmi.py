"""`pybuild rmi`: remove names of images; what no name needs any more goes with the next prune."""

from __future__ import annotations

from buildkit_py.cli.options import Command, Option, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "rmi",
        "remove names of images",
        ("pybuild rmi [options] IMAGE…",),
        (Option(("-f", "--force"), "do not mind an image that is not there"),),
        about="The layers that no name needs any more stay as cache until `pybuild cache prune`.",
        least=1,
        most=-1,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Remove the names and say which went. All of them are looked up before the first one goes."""
    from buildkit_py.api.images import find, remove
    from buildkit_py.errors import ImageNotFound, UsageError
    from buildkit_py.report.escape import visible

    parsed = parse(parser(), argv)
    names = []
    for text in parsed.operands:
        try:
            name = find(text).name
        except ImageNotFound:
            if not parsed.has("force"):
                raise
            continue
        if not name:
            raise UsageError(f"`{text}` is an image with no name or several", hint="say the name that is to go")
        names.append(name)
    for name in dict.fromkeys(names):
        if remove(name):
            print(f"removed {visible(name)}")
    return 0
