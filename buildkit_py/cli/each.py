"""Doing something to each container that a command line names: what can be done is, and the rest is said."""

from __future__ import annotations

import sys

from buildkit_py.errors import PybuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def for_each(names: Iterable[str], do: Callable[[str], object]) -> int:
    """Print what `do` gives for each name, and say what it raises; the exit code of the first that failed, else 0."""
    from buildkit_py.cli.guard import say

    code = 0
    for name in dict.fromkeys(names):
        try:
            sys.stdout.write(f"{do(name)}\n")
            sys.stdout.flush()
        except PybuildError as problem:
            say(problem)
            code = code or problem.exit_code
    return code
