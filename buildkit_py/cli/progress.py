"""Progress: runs what emits events under the reporter that the command line asks for."""

from __future__ import annotations

import sys

from buildkit_py.cli.guard import Ended, Reported
from buildkit_py.errors import PybuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from buildkit_py.events import Emit

    Result = TypeVar("Result")


def kind_from(env: Mapping[str, str]) -> str:
    """The kind of progress that BUILDKIT_PROGRESS asks for (docker's variable), "auto" without it."""
    kind = env.get("BUILDKIT_PROGRESS", "auto")
    known = {"tty": "tty", "plain": "plain", "quiet": "quiet", "rawjson": "json", "json": "json"}
    return known.get(kind, "auto")


def shown(kind: str, work: Callable[[Emit], Result]) -> Result:
    """Call `work` with the `emit` of a reporter on standard error; its result.

    A `PybuildError` is shown by the reporter, in its own form, and goes on as `Reported`. Where
    nobody reads standard error any more, the work is ended and `BrokenPipeError` raised.
    """
    from buildkit_py.report.reporter import choose

    gone = False

    def on_gone() -> None:
        # This may be any thread. The main one is to stop as it would for a signal.
        nonlocal gone
        gone = True
        import _thread
        from signal import SIGTERM

        _thread.interrupt_main(SIGTERM)

    reporter = choose(kind, sys.stderr, on_gone=on_gone)
    try:
        return work(reporter.emit)
    except PybuildError as error:
        reporter.failed(error)
        raise Reported(error.exit_code) from error
    except Ended:
        if gone:
            raise BrokenPipeError from None
        raise
    finally:
        reporter.close()
