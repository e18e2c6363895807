"""Checks: functions marked `@check`, whose image ends with a command that is a test."""

from __future__ import annotations

from buildkit_py.frontend import run_options
from buildkit_py.frontend.python.expect import expect
from buildkit_py.frontend.python.policy import read
from buildkit_py.frontend.python.target import TargetFunction, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class CheckFunction(TargetFunction):
    """A check as Python code sees it; `timeout` (milliseconds, 0: none) is for commands that have none of their own."""

    is_check = True
    timeout = 0


def check(function: Callable[..., Any] | None = None, *, name: str = "", timeout: str = "") -> Any:
    """Make a function a check: `@check`, or `@check(timeout="10m")`.

    It returns an Image, or a dict or list of them. The last command of each
    is the test: it passes where the command succeeds, and what it changes is
    dropped. Each parameter needs a default.
    """
    expect(timeout, str, "`timeout` of @check")
    limit = read("timeout", run_options.milliseconds, timeout, 0)
    expect(name, str, "`name` of @check")

    def mark(function: Callable[..., Any]) -> CheckFunction:
        plain = target(function, name=name)
        made = CheckFunction(plain.function, name=plain.name, default=False, tags=(), position=plain.position)
        made.timeout = limit
        return made

    return mark if function is None else mark(function)
