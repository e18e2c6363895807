"""Making the edits that findings offer, and nothing else: every other byte of the file stays."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.frontend.buildfile.checks.rule import Edit, Finding

_MARK = "\ufeff"


def applicable(text: str, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, without those edits for which the text is not as they expect it."""
    starts = _starts(text)
    return tuple(
        finding if all(_at(text, starts, edit) >= 0 for edit in finding.edits) else finding.replace(edits=())
        for finding in findings
    )


def apply(text: str, findings: Iterable[Finding]) -> str:
    """The text with the edits made; of two that touch one place the later one waits for another time."""
    starts = _starts(text)
    places = []
    for finding in findings:
        places += [(_at(text, starts, edit), edit) for edit in finding.edits]
    out: list[str] = []
    done = 0
    for at, edit in sorted(places, key=lambda place: place[0]):
        if at >= done:
            out += [text[done:at], edit.new]
            done = at + len(edit.old)
    return "".join([*out, text[done:]])


def _starts(text: str) -> list[int]:
    """Where each line begins. Lines end with a newline and nothing else, and a byte order mark is on none."""
    starts = [len(_MARK) if text.startswith(_MARK) else 0]
    at = text.find("\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\n", at + 1)
    return starts


def _at(text: str, starts: list[int], edit: Edit) -> int:
    """The offset of an edit, -1 where the text there is another."""
    if not 0 < edit.line <= len(starts):
        return -1
    at = starts[edit.line - 1] + edit.column - 1
    return at if text.startswith(edit.old, at) else -1
