"""Progress: runs what emits events under the reporter that the command line asks for."""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock, interrupt_main

from buildkit_py.cli.guard import Ended, Reported
from buildkit_py.errors import PybuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from buildkit_py.cli.options import Parsed
    from buildkit_py.events import Emit, Event
    from buildkit_py.report.reporter import Reporter

    Result = TypeVar("Result")


def kind_from(env: Mapping[str, str]) -> str:
    """The kind of progress that BUILDKIT_PROGRESS asks for (docker's variable), "auto" without it."""
    kind = env.get("BUILDKIT_PROGRESS", "auto")
    known = {"tty": "tty", "plain": "plain", "quiet": "quiet", "rawjson": "json", "json": "json"}
    return known.get(kind, "auto")


def kind_of(parsed: Parsed) -> str:
    """The kind of progress that a command line asks for, or else the environment."""
    return "quiet" if parsed.has("quiet") else parsed.one("progress") or kind_from(os.environ)


def at_terminal() -> bool:
    """Whether somebody sits at standard input and output."""
    return os.isatty(0) and os.isatty(1)


def shown(kind: str, work: Callable[[Emit], Result]) -> Result:
    """Call `work` with the `emit` of a reporter on standard error; its result.

    The reporter is made when there is something to show: `pybuild run` mostly has nothing. A
    `PybuildError` is shown by it, in its own form, and goes on as `Reported`. Where nobody reads
    standard error any more, the work is ended and `BrokenPipeError` raised.
    """
    gone = False
    made: list[Reporter] = []
    making = allocate_lock()

    def on_gone() -> None:
        # This may be any thread. The main one is to stop as it would for a signal.
        nonlocal gone
        gone = True
        from signal import SIGTERM

        interrupt_main(SIGTERM)

    def reporter() -> Reporter:
        with making:
            if not made:
                from buildkit_py.report.reporter import choose

                made.append(choose(kind, sys.stderr, on_gone=on_gone))
        return made[0]

    try:
        return work(lambda event: reporter().emit(event))
    except PybuildError as error:
        reporter().failed(error)
        raise Reported(error.exit_code) from error
    except Ended:
        if gone:
            raise BrokenPipeError from None
        raise
    finally:
        for one in made:
            one.close()


def if_busy(emit: Emit) -> Emit:
    """An `emit` that keeps everything back until a step really runs: a run of what is there should be silent.

    What a check found is kept back, too: it is said when the target is built.
    """
    from buildkit_py.events import Notice, StepProgress, StepStarted

    held: list[Event] = []
    busy = False
    order = allocate_lock()

    def pass_on(event: Event) -> None:
        nonlocal busy
        with order:
            urgent = isinstance(event, (StepStarted, StepProgress)) or (isinstance(event, Notice) and not event.rule)
            if not busy and not urgent:
                held.append(event)
                return
            if not busy:
                busy = True
                for earlier in held:
                    emit(earlier)
            emit(event)

    return pass_on
