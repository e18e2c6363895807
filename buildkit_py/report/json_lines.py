"""JSON progress: every event as one JSON object on a line of its own, for programs.

`event` is the record's name in kebab case (`step-output`), the other members
are its fields; docs/reference/progress-json.md lists them. Only ASCII is
written, so what a step's text would do to a terminal stays escaped.
"""

from __future__ import annotations

import json

from buildkit_py.errors import StepFailed
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.errors import PybuildError
    from buildkit_py.events import Event
    from buildkit_py.report.stream import Stream

VERSION = 1


class JsonReporter:
    """Writes each event as it comes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def emit(self, event: Event) -> None:
        """Show an event."""
        name = _kebab(type(event).__name__)
        head: dict[str, Any] = {"event": name}
        if name == "build-started":
            head["version"] = VERSION
        self._put(head | _plain(event))

    def failed(self, error: PybuildError) -> None:
        """Show the error as an object."""
        members: dict[str, Any] = {
            "event": "error",
            "message": error.message,
            "at": None if error.at is None else str(error.at),
            "excerpt": error.excerpt,
            "hint": error.hint,
            "notes": list(error.notes),
            "exit_code": error.exit_code,
        }
        if isinstance(error, StepFailed):
            members |= {"step_id": error.step_id, "code": error.code, "tail": list(error.tail)}
        self._put(members)

    def close(self) -> None:
        """Nothing is left to do."""

    def _put(self, members: dict[str, Any]) -> None:
        self._stream.write(json.dumps(members, separators=(",", ":")) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return {name: _plain(item) for name, item in zip(value.__fields__, value.values(), strict=True)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _kebab(name: str) -> str:
    return "".join("-" + ch.lower() if ch.isupper() else ch for ch in name).lstrip("-")
