"""`pybuild size`: how large an image is, what of it that is, and whether it is larger than it may be."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.size import ImageSize, Share

_SHOWN = 30
_LONGEST = 70
_BY = ("step", "dir", "package")


def parser() -> Command:
    """The command's table."""
    return Command(
        "size",
        "show how large an image is, and what of it",
        ("pybuild size [options] IMAGE",),
        (
            Option(("--by",), "by what the bytes are told", "VIEW", choices=_BY),
            Option(("--depth",), "dir: how many names a path has at most (default: 2)", "N"),
            Option(("--all",), "show every line, not only the largest"),
            Option(("--max-size",), "end with 8 where the image takes more than that when it is pulled", "SIZE"),
            Option(
                ("--max-growth",), "end with 8 where it takes so much more than another one, as in 5m or 10%", "SIZE"
            ),
            Option(("--against",), "the other image", "IMAGE", completes="image"),
            Option(("--json",), "print it as JSON"),
        ),
        about=(
            "PACKED is what pulling takes, compressed as it is, and what the limits are about; FILES and BYTES are "
            "those of the image's filesystem. By step, KEPT is what later steps did not overwrite or remove. By "
            "package, the line `-` has the files that no package manager (dpkg, apk, rpm, Python's, npm) knows of."
        ),
        examples=(
            ("pybuild size shop:2 --by=step", "what each instruction brought"),
            ("pybuild size shop:2 --max-growth=5% --against=shop:1", "a gate of CI"),
        ),
        least=1,
        most=1,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Print the size, then hold it against the limits. Raises `SizeExceeded` and what looking for the image raises."""
    from buildkit_py.api.size import hold_size, image_size
    from buildkit_py.cli.values import count, size_limits
    from buildkit_py.errors import UsageError

    parsed = parse(parser(), argv)
    (name,) = parsed.operands
    limits = size_limits(parsed.one("max-size"), parsed.one("max-growth"), parsed.one("against"))
    if limits.compares and not limits.against:
        raise UsageError("`--max-growth` needs an image to compare with", hint="name it with --against")
    by = parsed.one("by")
    if parsed.one("depth") and by != "dir":
        raise UsageError("`--depth` is for --by=dir")
    found = image_size(name, by, depth=count(parsed.one("depth", "2"), "--depth"))
    sys.stdout.write(_json(found, by) if parsed.has("json") else _text(name, found, by, parsed.has("all")))
    for sentence in found.unread:
        warn(sentence)
    if limits.any:
        sys.stdout.flush()
        hold_size(name, limits)
    return 0


def warn(sentence: str) -> None:
    """Tell of what could not be read."""
    from buildkit_py.cli.notices import say
    from buildkit_py.events import Notice

    say(Notice("warning", sentence))


def _json(found: ImageSize, by: str) -> str:
    import json

    value: dict[str, object] = {"digest": found.digest, "packed": found.packed, "layers": found.layers}
    if by:
        value["bytes"] = found.bytes
        value["by"] = by
        value["shares"] = [_plain(share) for share in found.shares]
        value["unread"] = list(found.unread)
    return json.dumps(value, indent=2) + "\n"


def _plain(share: Share) -> dict[str, object]:
    """A share without what cannot be told."""
    return {name: value for name in share.__fields__ if (value := getattr(share, name)) != -1}


def _text(name: str, found: ImageSize, by: str, whole: bool) -> str:
    from buildkit_py.report import units
    from buildkit_py.report.escape import visible
    from buildkit_py.report.table import table

    layers = "1 layer" if found.layers == 1 else f"{found.layers} layers"
    head = f"{visible(name)}: {units.size(found.packed)} packed, in {layers}"
    if not by:
        return head + "\n"
    head += f"; {units.size(found.bytes)} of files\n"
    shares = found.shares if whole or by == "step" else found.shares[:_SHOWN]
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]
    if by == "step":
        heads = ("PACKED", "BYTES", "KEPT", "FILES", "STEP")
        rows = [
            (units.size(one.packed), units.size(one.bytes), units.size(one.kept), str(one.files), _short(one.name))
            for one in shares
        ]
    else:
        heads = ("BYTES", "FILES", "DIRECTORY" if by == "dir" else "PACKAGE")
        rows = [(units.size(one.bytes), str(one.files), one.name or "-") for one in shares]
    if len(shares) < len(found.shares):
        rows.append(("", "", f"… and {len(found.shares) - len(shares)} more: --all shows them"))
    return head + table(heads, rows, right=range(len(heads) - 1))


def _short(step: str) -> str:
    text = " ".join(step.split()) or "-"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
