"""Plain progress: a log of lines, each step's under its number and name, for files, pipes and CI.

The form is BuildKit's, which people and tools know:

    #5 [web 2/5] RUN make
    #5 0.123 cc -c main.c
    #5 DONE 0.3s

The header comes again when a step goes on after another one wrote. A step's
own lines always stand behind its prefix, so none can pass for ours.
"""

from __future__ import annotations

from _thread import allocate_lock
from time import monotonic

from buildkit_py.events import (
    BuildFinished,
    Exported,
    Notice,
    ShellOpened,
    StepFinished,
    StepOutput,
    StepProgress,
    StepRetried,
    StepStarted,
)
from buildkit_py.report.escape import line, visible
from buildkit_py.report.message import error_text, notice_text, retry_text, shell_text
from buildkit_py.report.steps import Steps
from buildkit_py.report.units import seconds, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.errors import PybuildError
    from buildkit_py.events import Event
    from buildkit_py.report.stream import Stream

_BETWEEN_PROGRESS = 2.0


class PlainReporter:
    """Writes each event as it comes."""

    def __init__(self, stream: Stream, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._steps = Steps()
        self._current = 0
        self._shown: dict[tuple[str, str], float] = {}
        self._lock = allocate_lock()

    def emit(self, event: Event) -> None:
        """Show an event."""
        with self._lock:
            self._steps.note(event)
            text = self._text(event)
        if text:
            self._stream.write(text)

    def failed(self, error: PybuildError) -> None:
        """Show the error, below the failed step's last lines."""
        step_id = getattr(error, "step_id", "")
        name = self._steps.name(step_id) if step_id else ""
        self._stream.write("\n" * self._stream.used + error_text(error, self._stream.target, name))

    def close(self) -> None:
        """Nothing is left to do."""

    def _text(self, event: Event) -> str:
        match event:
            case StepStarted():
                return self._lines(event.step_id)
            case StepOutput():
                at = f"{self._steps.since_start(event):.3f}"
                return self._lines(event.step_id, f"{at} {line(event.text)}")
            case StepRetried():
                return self._lines(event.step_id, retry_text(event))
            case ShellOpened():
                return "\n" + shell_text(event, self._stream.target, self._steps.name(event.step_id), tail=False)
            case StepProgress():
                return self._progress(event)
            case StepFinished():
                return self._lines(event.step_id, _ending(event))
            case Notice():
                return notice_text(event, self._stream.target)
            case Exported():
                digest = f" {event.digest}" if event.digest else ""
                return f"exported {event.kind} {visible(event.destination)}{digest} {seconds(event.seconds)}\n"
            case BuildFinished():
                return "\n" + self._steps.summary(event)
            case _:
                return ""

    def _lines(self, step_id: str, *texts: str) -> str:
        number = self._steps.number(step_id)
        prefix = f"#{number} "
        out = [prefix + text for text in texts]
        if number != self._current:
            out[:0] = [""] * bool(self._current) + [prefix + self._steps.name(step_id)]
            self._current = number
        return "".join(text + "\n" for text in out)

    def _progress(self, event: StepProgress) -> str:
        """At most a line in two seconds for each thing that moves, and one when it has arrived."""
        key = (event.step_id, event.what)
        now = self._clock()
        arrived = 0 < event.total <= event.done
        if not arrived and now - self._shown.get(key, now - _BETWEEN_PROGRESS) < _BETWEEN_PROGRESS:
            return ""
        self._shown[key] = now
        amount = size if event.unit == "B" else lambda count: f"{count} {event.unit}"
        of = f" / {amount(event.total)}" if event.total else ""
        return self._lines(event.step_id, f"{visible(event.what)} {amount(event.done)}{of}")


def _ending(event: StepFinished) -> str:
    if event.state == "FAILED":
        return f"ERROR: {visible(event.reason)}" if event.reason else "ERROR"
    if event.state == "DONE":
        return f"DONE {seconds(event.seconds)}"
    if event.state == "SKIPPED" and event.reason:
        return f"SKIPPED: {visible(event.reason)}"
    return event.state
