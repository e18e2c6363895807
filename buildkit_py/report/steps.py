"""The steps of one build as a report sees them: their numbers, names and start times; and how many warnings it had."""

from __future__ import annotations

from buildkit_py.events import BuildFinished, Notice, StepOutput, StepQueued, StepStarted
from buildkit_py.report.escape import visible
from buildkit_py.report.units import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.events import Event


class Steps:
    """Numbers steps from 1 in the order in which they were queued, and remembers when each started."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._starts: dict[str, float] = {}
        self._warnings = 0

    def note(self, event: Event) -> None:
        """Learn from one event; every event may be given."""
        if isinstance(event, StepQueued):
            self.number(event.step_id)
            self._names[event.step_id] = visible(event.name)
        elif isinstance(event, StepStarted):
            self._starts[event.step_id] = event.at
        elif isinstance(event, Notice) and event.level == "warning":
            self._warnings += 1

    def number(self, step_id: str) -> int:
        """The step's number; a step that was never queued gets the next one."""
        return self._numbers.setdefault(step_id, len(self._numbers) + 1)

    def name(self, step_id: str) -> str:
        """The step's name, safe to print."""
        return self._names.get(step_id, visible(step_id))

    def since_start(self, output: StepOutput) -> float:
        """Seconds from the step's start to a line of its output."""
        return max(0.0, output.at - self._starts.get(output.step_id, 0.0))

    def summary(self, event: BuildFinished) -> str:
        """The last line about a build."""
        verb = "built" if event.ok else "failed"
        warnings = f", {self._warnings} warning{'s' * (self._warnings > 1)}" if self._warnings else ""
        return f"{verb} in {seconds(event.seconds)}: {event.ran} ran, {event.cached} cached{warnings}\n"

    def __len__(self) -> int:
        return len(self._numbers)
