"""`pybuild images`: the images of the local store."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.images import ImageSummary


def parser() -> Command:
    """The command's table."""
    return Command(
        "images",
        "list the images of the local store",
        ("pybuild images [options]",),
        (
            Option(("--format",), "how they are listed", "KIND", choices=("table", "json", "name", "short", "digest")),
            Option(("--json",), "the same as --format=json"),
            Option(("-q", "--quiet"), "the same as --format=digest"),
        ),
    )


def main(argv: list[str]) -> int:
    """Print the images, newest first."""
    from buildkit_py.api.images import list_images

    parsed = parse(parser(), argv)
    kind = parsed.one("format", "table")
    if parsed.has("json"):
        kind = "json"
    elif parsed.has("quiet"):
        kind = "digest"
    sys.stdout.write(_text(list_images(), kind))
    return 0


def _text(images: tuple[ImageSummary, ...], kind: str) -> str:
    if kind == "json":
        import json

        names = ("name", "digest", "id", "created", "size", "platform")
        return json.dumps([{name: getattr(image, name) for name in names} for image in images], indent=2) + "\n"
    if kind in ("name", "short", "digest"):
        from buildkit_py.report.escape import visible

        field = "familiar" if kind == "short" else kind
        return "".join(visible(getattr(image, field)) + "\n" for image in images)
    from time import time

    from buildkit_py.report import units
    from buildkit_py.report.table import table
    from buildkit_py.report.units import since

    now = time()
    rows = [
        (image.familiar, image.digest[7:19], image.platform, since(image.created, now), units.size(image.size))
        for image in images
    ]
    return table(("IMAGE", "DIGEST", "PLATFORM", "CREATED", "SIZE"), rows, right=(4,))
