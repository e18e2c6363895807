"""Quiet progress: nothing is shown but an error; the result itself is the command's to print."""

from __future__ import annotations

from buildkit_py.events import Notice, ShellClosed, ShellOpened, StepOutput, StepQueued
from buildkit_py.report.escape import line
from buildkit_py.report.message import error_text, notice_text, shell_text
from buildkit_py.report.steps import Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.errors import PybuildError
    from buildkit_py.events import Event
    from buildkit_py.report.stream import Stream


class QuietReporter:
    """Remembers the steps' names, so that an error can say which step it was."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._steps = Steps()
        self._shell = ""  # the step in whose place a shell is open

    def emit(self, event: Event) -> None:
        """Show nothing, unless somebody sits at a shell."""
        match event:
            case StepQueued():
                self._steps.note(event)
            case ShellOpened():
                self._shell = event.step_id
                name = self._steps.name(event.step_id)
                self._stream.write(shell_text(event, self._stream.target, name, tail=True))
            case StepOutput() if event.step_id == self._shell:
                self._stream.write(line(event.text) + "\n")
            case Notice() if self._shell:
                self._stream.write(notice_text(event, self._stream.target))
            case ShellClosed():
                self._shell = ""
            case _:
                pass

    def failed(self, error: PybuildError) -> None:
        """Show the error, below the failed step's last lines."""
        step_id = getattr(error, "step_id", "")
        self._stream.write(error_text(error, self._stream.target, self._steps.name(step_id) if step_id else ""))

    def close(self) -> None:
        """Nothing is left to do."""
