"""`pybuild diff`: what is different between two images."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.diff import Difference, FileDifference, ImageDifference

_SHOWN = 20


def parser() -> Command:
    """The command's table."""
    return Command(
        "diff",
        "show what is different between two images",
        ("pybuild diff [options] IMAGE IMAGE",),
        (
            Option(("--files",), "show every file, not only those that matter most for the size"),
            Option(("--exit-code",), "end with 1 if there is any difference"),
            Option(("--json",), "print all of it as JSON"),
        ),
        about=(
            "Compares configuration, packages (of dpkg, apk, Python and npm), files by what they hold and who may do "
            "what with them, and which of them have the set-uid or set-gid bit. Times are not compared."
        ),
        examples=(("pybuild diff shop:1 shop:2", "what an update brings"),),
        least=2,
        most=2,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Print the differences."""
    from buildkit_py.api.diff import diff

    parsed = parse(parser(), argv)
    found = diff(parsed.operands[0], parsed.operands[1])
    sys.stdout.write(_json(found) if parsed.has("json") else _text(found, parsed.has("files")))
    return 1 if parsed.has("exit-code") and not found.is_empty else 0


def _json(found: ImageDifference) -> str:
    import json

    def plain(records: Sequence[Difference | FileDifference]) -> list[dict[str, object]]:
        return [{name: getattr(one, name) for name in one.__fields__} for one in records]

    value = {
        "config": plain(found.config),
        "packages": plain(found.packages),
        "files": plain(found.files),
        "special": plain(found.special),
        "size": {"before": found.sizes[0], "after": found.sizes[1]},
    }
    return json.dumps(value, indent=2) + "\n"


def _text(found: ImageDifference, whole: bool) -> str:
    from buildkit_py.report import units
    from buildkit_py.report.escape import visible

    lines: list[str] = []
    for title, differences in (("CONFIG", found.config), ("PACKAGES", found.packages), ("SET-UID", found.special)):
        if differences:
            lines += [title, *(f"  {visible(_line(one))}" for one in differences)]
    if found.files:
        lines.append(f"FILES  {_summary(found.files)}")
        files = found.files if whole else sorted(found.files, key=lambda one: -abs(_grown(one)))[:_SHOWN]
        lines += [f"  {visible(_file_line(one))}" for one in files]
        if len(files) < len(found.files):
            lines.append(f"  … and {len(found.files) - len(files)} more: --files shows all")
    before, after = found.sizes
    if not found.is_empty:
        sign = "+" if after >= before else "-"
        lines.append(f"SIZE  {units.size(before)} became {units.size(after)} ({sign}{units.size(abs(after - before))})")
    return "\n".join(lines or ["no difference"]) + "\n"


def _line(one: Difference) -> str:
    name = f"{one.what} {one.name}".rstrip()
    if not one.before:
        return f"+ {name}  {one.after}"
    return f"- {name}  {one.before}" if not one.after else f"~ {name}  {one.before} became {one.after}"


def _file_line(one: FileDifference) -> str:
    from buildkit_py.report import units

    if one.before < 0:
        return f"+ {one.path}  {units.size(one.after)}"
    if one.after < 0:
        return f"- {one.path}  {units.size(one.before)}"
    grown = f"  {units.size(one.before)} became {units.size(one.after)}" if one.before != one.after else ""
    return f"~ {one.path}{grown}  {', '.join(one.how)}"


def _grown(one: FileDifference) -> int:
    return max(one.after, 0) - max(one.before, 0)


def _summary(files: Sequence[FileDifference]) -> str:
    added = sum(one.before < 0 for one in files)
    removed = sum(one.after < 0 for one in files)
    return f"{added} added, {removed} removed, {len(files) - added - removed} changed"
