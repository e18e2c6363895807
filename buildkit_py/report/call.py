"""Answers to `--call` in the forms that buildx has for them: tables for people, JSON for programs."""

from __future__ import annotations

from base64 import b64encode

from buildkit_py.frontend.buildfile.checks.registry import BY_NAME
from buildkit_py.report.escape import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from buildkit_py.api.call import Answer
    from buildkit_py.api.check import Checked
    from buildkit_py.frontend.buildfile.asked import Lent
    from buildkit_py.frontend.buildfile.checks.rule import Finding

# How many lines around those of a finding are shown.
_AROUND = 2


# Outline


def outline_text(answer: Answer) -> str:
    """The target, and a table for each kind of thing that it asks for."""
    asked = answer.asked
    assert asked is not None
    out = ""
    if asked.name or asked.description:
        rows = [("TARGET:", asked.name or "(default)")]
        if asked.description:
            rows.append(("DESCRIPTION:", _first(asked.description)))
        out += _table(rows, 1) + "\n"
    if asked.args:
        args = [(arg.name, arg.value, _first(arg.description)) for arg in asked.args]
        out += _table([("BUILD ARG", "VALUE", "DESCRIPTION"), *args], 3) + "\n"
    for title, lent in (("SECRET", asked.secrets), ("SSH", asked.agents)):
        if lent:
            out += (
                _table([(title, "REQUIRED"), *((one.name, "true" if one.required else "") for one in lent)], 3) + "\n"
            )
    return out


def outline_json(answer: Answer) -> dict[str, Any]:
    """The same as an object."""
    asked = answer.asked
    assert asked is not None
    args = [
        _present(name=arg.name, description=arg.description, value=arg.value, location=_location(arg.lines))
        for arg in asked.args
    ]
    return _present(
        name=asked.name,
        description=asked.description,
        args=args,
        secrets=[_lent(one) for one in asked.secrets],
        ssh=[_lent(one) for one in asked.agents],
        sources=[_encoded(answer.source)],
    )


def _lent(one: Lent) -> dict[str, Any]:
    return _present(name=one.name, required=one.required, location=_location(one.lines))


# Targets


def targets_text(answer: Answer) -> str:
    """A table of the targets, the default one marked."""
    rows = [("TARGET", "DESCRIPTION")]
    for one in answer.listed:
        mark = "(default)" if one.default else ""
        rows.append((" ".join(filter(None, (one.name, mark))), _first(one.description)))
    return _table(rows, 1)


def targets_json(answer: Answer) -> dict[str, Any]:
    """The same as an object."""
    listed = [
        _present(
            name=one.name,
            default=one.default,
            description=one.description,
            base=one.base,
            platform=one.platform,
            location=_location(one.lines),
        )
        for one in answer.listed
    ]
    return {"targets": listed, "sources": [_encoded(answer.source)]}


# Check


def check_text(checked: Checked) -> str:
    """How many warnings there are, then each with its rule's page and the lines that it is about."""
    count = len(checked.findings)
    if not count:
        return "" if checked.error is not None else "Check complete, no warnings found.\n"
    found = "1 warning has been found!" if count == 1 else f"{count} warnings have been found!"
    lines = checked.text.split("\n")
    return f"Check complete, {found}\n" + "".join([_warning(checked, finding, lines) for finding in checked.findings])


def _warning(checked: Checked, finding: Finding, lines: list[str]) -> str:
    url = BY_NAME[finding.rule].url
    first, last = finding.first_line, finding.last_line
    out = [f"\nWARNING: {finding.rule}" + (f" - {url}" if url else ""), visible(finding.message)]
    out.append(f"{visible(checked.name)}:{first}")
    out.append("-" * 20)
    for number in range(max(1, first - _AROUND), min(len(lines), last + _AROUND) + 1):
        mark = ">>>" if first <= number <= last else "   "
        out.append(f" {number:3} | {mark} {visible(lines[number - 1].rstrip(chr(13)))}")
    out.append("-" * 20)
    return "\n".join(out) + "\n"


def check_json(checked: Checked) -> dict[str, Any]:
    """The same as an object; `buildError` is what is wrong with the file beyond any check."""
    warnings = [
        _present(
            ruleName=finding.rule,
            description=BY_NAME[finding.rule].summary,
            url=BY_NAME[finding.rule].url,
            detail=finding.message,
            location=_location((finding.first_line, finding.last_line)),
        )
        for finding in checked.findings
    ]
    source = {
        "filename": checked.name,
        "data": _encoded(checked.text.encode("utf-8", "surrogateescape")),
        "language": "Dockerfile",
    }
    out: dict[str, Any] = {"warnings": warnings, "sources": [source]}
    if checked.error is not None:
        line = getattr(checked.error.at, "line", 0)
        out["buildError"] = _present(message=checked.error.message, location=_location((line, line)))
    return out


# What they share


def _present(**members: Any) -> dict[str, Any]:
    """The members that have something in them, as Go leaves out what is empty."""
    return {name: value for name, value in members.items() if value}


def _location(lines: tuple[int, int]) -> dict[str, Any] | None:
    first, last = lines
    return {"ranges": [{"start": {"line": first}, "end": {"line": last}}]} if first else None


def _encoded(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _first(text: str) -> str:
    return text.split("\n", 1)[0]


def _table(rows: Sequence[tuple[str, ...]], gap: int) -> str:
    """Columns as wide as their widest cell and a gap; the last cell of a line is not padded."""
    shown = [tuple(visible(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in shown) + gap for column in range(len(shown[0]) - 1)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)) + row[-1] + "\n"
        for row in shown
    )
