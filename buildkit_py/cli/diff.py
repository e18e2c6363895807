"""`pybuild diff`: what is different between two images."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.diff import Difference, ImageDifference
    from buildkit_py.api.diff_steps import StepDifference
    from buildkit_py.image.difference import FileDifference

_SHOWN = 20


def parser() -> Command:
    """The command's table."""
    return Command(
        "diff",
        "show what is different between two images",
        ("pybuild diff [options] IMAGE IMAGE",),
        (
            Option(("--by",), "step: tell also which steps made other files", "VIEW", choices=("step",)),
            Option(("--files",), "show every file, not only those that matter most for the size"),
            Option(("--exit-code",), "end with 1 if there is any difference"),
            Option(("--json",), "print all of it as JSON"),
        ),
        about=(
            "Compares configuration, packages (of dpkg, apk, rpm, Python and npm), files by what they hold and who may "
            "do what with them, and which of them have the set-uid or set-gid bit. Times are not compared."
        ),
        examples=(
            ("pybuild diff shop:1 shop:2", "what an update brings"),
            ("pybuild diff --by=step shop:1 shop:2", "and which steps bring it"),
        ),
        least=2,
        most=2,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Print the differences."""
    from buildkit_py.api.diff import diff
    from buildkit_py.cli.size import warn

    parsed = parse(parser(), argv)
    found = diff(parsed.operands[0], parsed.operands[1], steps=parsed.one("by") == "step")
    for sentence in found.unread:
        warn(sentence)
    sys.stdout.write(
        _json(found, parsed.one("by") == "step") if parsed.has("json") else _text(found, parsed.has("files"))
    )
    return 1 if parsed.has("exit-code") and not found.is_empty else 0


def _json(found: ImageDifference, steps: bool) -> str:
    import json

    def plain(records: Sequence[Difference | FileDifference]) -> list[dict[str, object]]:
        return [{name: getattr(one, name) for name in one.__fields__} for one in records]

    value: dict[str, object] = {
        "config": plain(found.config),
        "packages": plain(found.packages),
        "files": plain(found.files),
        "special": plain(found.special),
        "size": {"before": found.sizes[0], "after": found.sizes[1]},
        "unread": list(found.unread),
    }
    if steps:
        value["steps"] = [
            {name: getattr(step, name) for name in step.__fields__} | {"files": plain(step.files)}
            for step in found.steps
        ]
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
        lines += _file_lines(found.files, whole)
    for step in found.steps:
        lines += [f"STEP  {visible(_step_line(step))}", *_file_lines(step.files, whole)]
    before, after = found.sizes
    if not found.is_empty:
        sign = "+" if after >= before else "-"
        lines.append(f"SIZE  {units.size(before)} became {units.size(after)} ({sign}{units.size(abs(after - before))})")
    return "\n".join(lines or ["no difference"]) + "\n"


def _file_lines(files: Sequence[FileDifference], whole: bool) -> list[str]:
    from buildkit_py.report.escape import visible

    shown = files if whole else sorted(files, key=lambda one: -abs(_grown(one)))[:_SHOWN]
    lines = [f"  {visible(_file_line(one))}" for one in shown]
    if len(shown) < len(files):
        lines.append(f"  … and {len(files) - len(shown)} more: --files shows all")
    return lines


def _step_line(step: StepDifference) -> str:
    from buildkit_py.report import units

    name = " ".join((step.after or step.before).split()) or "-"
    if step.packed_before < 0:
        return f"+ {name}  {units.size(step.packed_after)} packed"
    if step.packed_after < 0:
        return f"- {name}  {units.size(step.packed_before)} packed"
    was = f", was `{' '.join(step.before.split())}`" if step.before != step.after else ""
    return f"~ {name}  {units.size(step.packed_before)} became {units.size(step.packed_after)} packed{was}"


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
