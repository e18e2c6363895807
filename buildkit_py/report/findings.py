"""What checks found, as lines for a person, as commands that GitHub's runner shows beside the code, and as JSON."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks.registry import BY_NAME
from buildkit_py.report import color
from buildkit_py.report.escape import line, visible
from buildkit_py.source_map import caret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.api.check import Checked
    from buildkit_py.frontend.buildfile.checks.rule import Finding

JSON_VERSION = 1
_FIX = "`pybuild check --fix` does it"


def text(checked: Checked, on: bool) -> str:
    """Each finding with its place, its source line, what to do and the page that explains it; `on`: in colour."""
    lines = checked.text.split("\n")
    out = [_one(finding, lines, on) for finding in checked.findings]
    out.append(_summary(checked))
    return "\n".join(out)


def _one(finding: Finding, lines: list[str], on: bool) -> str:
    rule, at = BY_NAME[finding.rule], finding.position
    advice = f"{rule.advice} ({_FIX})" if finding.edits else rule.advice
    out = [f"{color.paint('warning:', 'warning', on)} {visible(str(at))}: {finding.rule}: {visible(finding.message)}"]
    if 0 < at.line <= len(lines):
        shown = lines[at.line - 1].rstrip("\r")
        width = min(finding.width or _word(shown, at.column), len(shown) - at.column + 1)
        out += [line(part) for part in caret(shown, at.column, width).split("\n")]
    out.append(f"{color.paint('hint:', 'hint', on)} {advice}")
    out.append(f"{color.paint('note:', 'note', on)} {rule.page}")
    return "\n".join(out) + "\n"


def _word(text: str, column: int) -> int:
    return len(text[column - 1 :].split(" ", 1)[0])


def _summary(checked: Checked) -> str:
    count = len(checked.findings)
    if not count:
        return f"{visible(checked.name)}: nothing found\n" if checked.error is None else ""
    fixes = sum(bool(finding.edits) for finding in checked.findings)
    mended = f", {fixes} of which `pybuild check --fix` mends" if fixes else ""
    return f"{visible(checked.name)}: {count} warning{'s' * (count > 1)}{mended}\n"


def github(checked: Checked) -> str:
    """Workflow commands of GitHub Actions, a line a finding: they become annotations of the file."""
    out = []
    for finding in checked.findings:
        at = finding.position
        place = f"file={_property(at.file)},line={at.line},col={at.column},endLine={max(at.line, finding.last_line)}"
        message = f"{finding.message}: {BY_NAME[finding.rule].advice}"
        out.append(f"::warning {place},title={_property(finding.rule)}::{_data(message)}\n")
    return "".join(out)


def _data(text: str) -> str:
    # As the runner's own toolkit escapes them.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def document(checked: Checked) -> dict[str, Any]:
    """The findings as one object for programs; docs/reference/checks/README.md lists its members."""
    return {
        "version": JSON_VERSION,
        "file": checked.name,
        "findings": [_member(finding) for finding in checked.findings],
        "error": _error(checked),
    }


def _member(finding: Finding) -> dict[str, Any]:
    rule, at = BY_NAME[finding.rule], finding.position
    return {
        "rule": rule.name,
        "message": finding.message,
        "file": at.file,
        "line": at.line,
        "column": at.column,
        "first_line": finding.first_line,
        "last_line": finding.last_line,
        "advice": rule.advice,
        "page": rule.page,
        "url": rule.url,
        "fixable": bool(finding.edits),
    }


def _error(checked: Checked) -> dict[str, Any] | None:
    error = checked.error
    if error is None:
        return None
    line = getattr(error.at, "line", 0)
    return {
        "message": error.message,
        "hint": error.hint,
        "file": getattr(error.at, "file", checked.name),
        "line": line,
        "column": getattr(error.at, "column", 0),
    }
