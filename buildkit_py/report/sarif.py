"""What checks found as SARIF 2.1.0, the format that code scanning services take.

The members are those that the schema requires (OASIS sarif-schema-2.1.0) and
those that GitHub's code scanning reads. Columns count code points.
"""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks.registry import RULES
from buildkit_py.source_map import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.api.check import Checked
    from buildkit_py.frontend.buildfile.checks.rule import Edit, Finding, Rule

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_INDEX = {rule.name: number for number, rule in enumerate(RULES)}


def document(checked: Checked, version: str) -> dict[str, Any]:
    """The log of one run over one file. `version` is that of the tool."""
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "pybuild",
                        "semanticVersion": version,
                        "rules": [_rule(rule) for rule in RULES],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "invocations": [_invocation(checked)],
                "artifacts": [{"location": {"uri": _uri(checked.name)}}],
                "results": [_result(finding) for finding in checked.findings],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": rule.name,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "help": {"text": f"{rule.advice[:1].upper()}{rule.advice[1:]}."},
        "defaultConfiguration": {"level": "warning"},
    }
    if rule.url:
        described["helpUri"] = rule.url
    return described


def _invocation(checked: Checked) -> dict[str, Any]:
    if checked.error is None:
        return {"executionSuccessful": True}
    notification: dict[str, Any] = {"level": "error", "message": {"text": checked.error.message}}
    at = checked.error.at
    if isinstance(at, Position):
        region = {"startLine": at.line, "startColumn": at.column}
        notification["locations"] = [
            {"physicalLocation": {"artifactLocation": {"uri": _uri(at.file)}, "region": region}}
        ]
    return {"executionSuccessful": False, "toolExecutionNotifications": [notification]}


def _result(finding: Finding) -> dict[str, Any]:
    at = finding.position
    region = {"startLine": at.line, "startColumn": at.column, "endLine": max(at.line, finding.last_line)}
    if finding.width:
        region |= {"endLine": at.line, "endColumn": at.column + finding.width}
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": _INDEX[finding.rule],
        "level": "warning",
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(at.file)}, "region": region}}],
    }
    if finding.edits:
        replacements = [_replacement(edit) for edit in finding.edits]
        change = {"artifactLocation": {"uri": _uri(at.file)}, "replacements": replacements}
        result["fixes"] = [{"artifactChanges": [change]}]
    return result


def _replacement(edit: Edit) -> dict[str, Any]:
    end_line = edit.line + edit.old.count("\n")
    end_column = edit.column + len(edit.old) if end_line == edit.line else len(edit.old.rpartition("\n")[2]) + 1
    return {
        "deletedRegion": {
            "startLine": edit.line,
            "startColumn": edit.column,
            "endLine": end_line,
            "endColumn": end_column,
        },
        "insertedContent": {"text": edit.new},
    }


def _uri(name: str) -> str:
    from urllib.parse import quote

    return quote(name, errors="surrogateescape")
