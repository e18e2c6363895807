"""A reporter: what shows a build's events to someone; and the choice of one by name."""

from __future__ import annotations

import os

from buildkit_py.report.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol, TextIO

    from buildkit_py.errors import PybuildError
    from buildkit_py.events import Event

    class Reporter(Protocol):
        """`emit` may be called from any thread, `failed` and `close` from the one that builds."""

        def emit(self, event: Event) -> None:
            """Show an event. Raises nothing."""

        def failed(self, error: PybuildError) -> None:
            """Show the error that the build ended with."""

        def close(self) -> None:
            """Leave the terminal as it was. May be called twice."""


KINDS = ("auto", "tty", "plain", "json", "quiet")


def choose(
    kind: str, target: TextIO, *, on_gone: Callable[[], None] | None = None, env: Mapping[str, str] | None = None
) -> Reporter:
    """The reporter of a kind, writing to `target`. "auto" draws on a terminal and is plain elsewhere."""
    env = os.environ if env is None else env
    if kind == "auto":
        kind = "tty" if target.isatty() and env.get("TERM", "dumb") != "dumb" else "plain"
    stream = Stream(target, on_gone)
    if kind == "tty":
        from buildkit_py.report.tty import TerminalReporter

        return TerminalReporter(stream)
    if kind == "json":
        from buildkit_py.report.json_lines import JsonReporter

        return JsonReporter(stream)
    if kind == "quiet":
        from buildkit_py.report.quiet import QuietReporter

        return QuietReporter(stream)
    from buildkit_py.report.plain import PlainReporter

    return PlainReporter(stream)
