"""Everything that happens during a build and can be seen: one stream of records.

Progress on a terminal, plain and JSON progress, logs and the build record are
renderings of this stream and nothing else. Times are seconds since the build
began, unless named otherwise.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from buildkit_py.errors import PybuildError
    from buildkit_py.source_map import Position


class BuildStarted(Record):
    build_id: str
    title: str
    steps: int = 0


class StepQueued(Record):
    """A step that belongs to this build; sent before anything else about it, in graph order."""

    step_id: str
    name: str
    position: Position | None = None


class StepStarted(Record):
    step_id: str
    at: float = 0.0


class StepOutput(Record):
    """One line that a step wrote (without its newline). `stream` is 1 or 2, as file descriptors are."""

    step_id: str
    stream: int
    text: str
    at: float = 0.0


class StepRetried(Record):
    """An attempt at a step failed, for the `reason` given in a few words, and the next one begins.

    `attempt` is the next one's number, from 2 to `attempts`.
    """

    step_id: str
    attempt: int
    attempts: int
    reason: str
    at: float = 0.0


class ShellOpened(Record):
    """A shell opens where a step failed, and the terminal is its own until `ShellClosed`; what the step writes in
    between, when it runs again, is for the one who sits there.

    `message` says why it failed and `tail` are its last lines, where they were not seen just now; `words` can be said
    in the shell. It comes again where the step failed again.
    """

    step_id: str
    message: str
    tail: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    at: float = 0.0


class ShellClosed(Record):
    """No shell is open any more. `said` is the word with which the build goes on, "" where the shell was left."""

    step_id: str
    said: str = ""
    at: float = 0.0


class StepProgress(Record):
    """How far a transfer or a pack has come. `total` is 0 where it is not known."""

    step_id: str
    what: str
    done: int
    total: int
    unit: str = "B"


class StepFinished(Record):
    """`state` is one of the solver's: CACHED, DONE, FAILED, SKIPPED. `reason` says why in a few words."""

    step_id: str
    state: str
    seconds: float = 0.0
    at: float = 0.0
    reason: str = ""


class Notice(Record):
    """Something a person should know that is no error: `level` is "info" or "warning".

    `rule` is the check that found it, "" for none.
    """

    level: str
    message: str
    position: Position | None = None
    hint: str = ""
    rule: str = ""


def warning(about: str, problem: PybuildError, position: Position | None = None) -> Notice:
    """What one is told of a failure that does not end the build: what it comes to, why, and what to do about it."""
    return Notice("warning", f"{about}: {problem.message}", position, problem.hint)


class Exported(Record):
    """An output was written."""

    kind: str
    destination: str
    digest: str = ""
    seconds: float = 0.0


class BuildFinished(Record):
    ok: bool
    seconds: float
    ran: int = 0
    cached: int = 0


if TYPE_CHECKING:
    Event: TypeAlias = (
        BuildStarted
        | StepQueued
        | StepStarted
        | StepOutput
        | StepRetried
        | ShellOpened
        | ShellClosed
        | StepProgress
        | StepFinished
        | Notice
        | Exported
        | BuildFinished
    )
    Emit: TypeAlias = Callable[[Event], None]
