"""Terminal progress: finished steps scroll by as a line each, running ones are redrawn below with their last lines.

rich draws, and is imported when the first step starts to run: a build whose
steps are all cached writes its lines without it.
"""

from __future__ import annotations

import io
from _thread import allocate_lock
from collections import deque
from time import monotonic
from typing import cast

from buildkit_py.events import (
    BuildFinished,
    BuildStarted,
    Exported,
    Notice,
    ShellClosed,
    ShellOpened,
    StepFinished,
    StepOutput,
    StepProgress,
    StepRetried,
    StepStarted,
)
from buildkit_py.report import color
from buildkit_py.report.escape import line, visible
from buildkit_py.report.message import error_text, notice_text, retry_text, shell_text
from buildkit_py.report.steps import Steps
from buildkit_py.report.units import seconds, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from rich.live import Live
    from rich.text import Text

    from buildkit_py.errors import PybuildError
    from buildkit_py.events import Event
    from buildkit_py.report.stream import Stream

_KEPT_LINES = 6
_SIGNS = {"DONE": "✓", "CACHED": "✓", "FAILED": "✗", "SKIPPED": "-"}
_PLAIN_SIGNS = {"DONE": "+", "CACHED": "=", "FAILED": "!", "SKIPPED": "-"}
_KINDS = {"DONE": "good", "CACHED": "dim", "FAILED": "error", "SKIPPED": "dim"}


class _Running:
    def __init__(self, number: int, name: str, since: float) -> None:
        self.number = number
        self.name = name
        self.since = since
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.moving: dict[str, str] = {}


class TerminalReporter:
    """Draws on a terminal."""

    def __init__(self, stream: Stream, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._steps = Steps()
        self._running: dict[str, _Running] = {}
        self._finished = 0
        self._shell = ""  # the step in whose place a shell is open: nothing is drawn, and all that it writes is shown
        self._began = clock()
        self._live: Live | None = None
        self._color = color.wanted(stream.target)
        # Two locks, and never the second while holding the first: rich's thread asks for the view (first)
        # while it holds the lock of its own that printing (second) needs.
        self._state = allocate_lock()
        self._printing = allocate_lock()
        try:
            "".join(_SIGNS.values()).encode(stream.target.encoding or "ascii")
            self._signs = _SIGNS
        except UnicodeEncodeError:
            self._signs = _PLAIN_SIGNS

    def emit(self, event: Event) -> None:
        """Show an event."""
        text = self.take(event)
        if isinstance(event, StepStarted):
            self._draw()
        elif isinstance(event, (BuildFinished, ShellOpened)):
            self.close()
        if text:
            self._print(text)

    def failed(self, error: PybuildError) -> None:
        """Show the error, below the failed step's last lines."""
        self.close()
        step_id = getattr(error, "step_id", "")
        name = self._steps.name(step_id) if step_id else ""
        self._stream.write("\n" * self._stream.used + error_text(error, self._stream.target, name))

    def close(self) -> None:
        """Take the drawing off the terminal and give the cursor back."""
        with self._printing:
            live, self._live = self._live, None
        if live is not None:
            live.stop()

    def take(self, event: Event) -> str:
        """Bring the state up to date by an event; what is to be written for good, "" for nothing."""
        with self._state:
            self._steps.note(event)
            return self._taken(event)

    def _taken(self, event: Event) -> str:
        match event:
            case BuildStarted():
                self._began = self._clock()
            case StepStarted():
                number, name = self._steps.number(event.step_id), self._steps.name(event.step_id)
                self._running[event.step_id] = _Running(number, name, self._clock())
            case ShellOpened():
                self._shell = event.step_id
                return "\n" + shell_text(event, self._stream.target, self._steps.name(event.step_id), tail=True)
            case ShellClosed():
                self._shell = ""
            case StepOutput() if event.step_id == self._shell:
                return line(event.text) + "\n"
            case StepOutput():
                if running := self._running.get(event.step_id):
                    running.lines.append(line(event.text).expandtabs())
            case StepRetried():
                return f"{self._steps.name(event.step_id)}  {retry_text(event)}\n"
            case StepProgress():
                if running := self._running.get(event.step_id):
                    running.moving[event.what] = _moved(event)
            case StepFinished():
                self._running.pop(event.step_id, None)
                self._finished += 1
                return self._ending(event)
            case Notice():
                return notice_text(event, self._stream.target)
            case Exported():
                sign = color.paint(self._signs["DONE"], "good", self._color)
                return f"{sign} exported {event.kind} {visible(event.destination)} {event.digest}".rstrip() + "\n"
            case BuildFinished():
                return self._steps.summary(event)
            case _:
                pass
        return ""

    def _ending(self, event: StepFinished) -> str:
        kind = _KINDS.get(event.state, "note")
        right = seconds(event.seconds) if event.state == "DONE" else event.state
        if event.state == "FAILED" and event.reason:
            right = visible(event.reason)
        left = f"{self._signs.get(event.state, '-')} {self._steps.name(event.step_id)}"
        if event.state in ("CACHED", "SKIPPED"):
            return color.paint(f"{left}  {right}", kind, self._color) + "\n"
        return f"{color.paint(left[0], kind, self._color)}{left[1:]}  {color.paint(right, kind, self._color)}\n"

    def _print(self, text: str) -> None:
        with self._printing:
            if self._live is None:
                self._stream.write(text)
                return
            from rich.text import Text

            # The only escapes in it are our own colours; everything else went through `visible`.
            self._live.console.print(Text.from_ansi(text.removesuffix("\n")), soft_wrap=True)

    def _draw(self) -> None:
        with self._printing:
            if self._live is not None or self._stream.gone:
                return
            from rich.console import Console
            from rich.live import Live

            console = Console(
                file=cast("IO[str]", _LiveFile(self._stream)),
                force_terminal=True,
                no_color=not self._color,
                highlight=False,
                markup=False,
                emoji=False,
            )
            self._live = Live(
                console=console,
                get_renderable=lambda: self.view(console.width, console.height),
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def view(self, width: int, height: int) -> Text:
        """The running steps with their last lines, as far as the terminal's height goes, and a line that counts."""
        from rich.text import Text

        now = self._clock()
        with self._state:
            running = sorted(self._running.values(), key=lambda step: step.number)
            # One line counts, and the last one of the terminal stays free: a full one would scroll.
            shown = running[: max(0, (height - 2) // 2)]
            room = min(_KEPT_LINES, (height - 2) // max(1, len(shown)) - 1)
            view = Text(no_wrap=True, overflow="ellipsis")
            for step in shown:
                time = seconds(now - step.since)
                moving = "  ".join(step.moving.values())
                view.append("> ", "cyan")
                view.append(_cut(f"{step.name}  {time}  {moving}".rstrip(), width - 2) + "\n", "bold")
                for text in list(step.lines)[-room:]:
                    view.append("  " + _cut(text, width - 2) + "\n", "dim")
            more = f", {len(running) - len(shown)} more running" if len(running) > len(shown) else ""
            view.append(_cut(f"{self._finished}/{len(self._steps)} steps{more}  {seconds(now - self._began)}", width))
        return view


class _LiveFile(io.TextIOBase):
    """What rich writes to: our stream, which outlives its reader's going away."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.target.encoding

    def write(self, text: str) -> int:
        self._stream.write(text)
        return len(text)

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.target.fileno()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _moved(event: StepProgress) -> str:
    amount = size if event.unit == "B" else lambda count: f"{count} {event.unit}"
    of = f"/{amount(event.total)}" if event.total else ""
    return f"{visible(event.what)} {amount(event.done)}{of}"
