"""The plan: which steps are still to be done and which of them could start now.

Pure bookkeeping, as in ninja: it starts no work and knows no clock. One
thread owns it.
"""

from __future__ import annotations

from buildkit_py.graph.op import Run
from buildkit_py.graph.step import inputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.graph.step import Step


class State:
    """The states of a step. It is in one of these, never described by a set of flags."""

    WAITING = "WAITING"
    CACHED = "CACHED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class Plan:
    """Made from the steps to work on, inputs before their users; all other inputs count as done.

    `width` is how many Runs stand beside each other at most: as many have as many steps between them and the roots.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self.state: dict[Step, str] = {}
        self._waits_for: dict[Step, int] = {}
        self._users: dict[Step, list[Step]] = {}
        self._ready: list[Step] = []
        self._in_pool: dict[str, int] = {}  # how many of each pool run
        level: dict[Step, int] = {}
        runs: dict[int, int] = {}
        for step in steps:
            pending = {child for child in inputs(step) if child in self.state}
            here = level[step] = 1 + max([level[child] for child in pending], default=0)
            runs[here] = runs.get(here, 0) + isinstance(step.op, Run)
            self.state[step] = State.WAITING
            self._waits_for[step] = len(pending)
            for child in pending:
                self._users.setdefault(child, []).append(step)
            if not pending:
                self._ready.append(step)
        self._ready.reverse()  # popped from the end: the order of the graph
        self.width = max(runs.values(), default=0)

    def next_ready(self) -> Step | None:
        """A step whose inputs are all done, now RUNNING; None if there is none at the moment.

        One whose pool is full is passed over.
        """
        for index in range(len(self._ready) - 1, -1, -1):
            step = self._ready[index]
            pool, size = _pool(step)
            running = self._in_pool.get(pool, 0)
            if pool and running >= size:
                continue
            if pool:
                self._in_pool[pool] = running + 1
            del self._ready[index]
            self.state[step] = State.RUNNING
            return step
        return None

    def finished(self, step: Step, state: str) -> None:
        """A running step became CACHED or DONE: steps that only waited for it are ready."""
        self._leave_pool(step)
        self.state[step] = state
        for user in self._users.get(step, ()):
            self._waits_for[user] -= 1
            if self._waits_for[user] == 0 and self.state[user] == State.WAITING:
                self._ready.append(user)

    def failed(self, step: Step) -> list[Step]:
        """A running step FAILED: everything above it is SKIPPED; returns those."""
        self._leave_pool(step)
        self.state[step] = State.FAILED
        skipped: list[Step] = []
        stack = list(self._users.get(step, ()))
        while stack:
            user = stack.pop()
            if self.state[user] == State.WAITING:
                self.state[user] = State.SKIPPED
                skipped.append(user)
                stack.extend(self._users.get(user, ()))
        return skipped

    def stop(self) -> list[Step]:
        """Start nothing more: everything that has not begun is SKIPPED; returns those."""
        skipped = [step for step, state in self.state.items() if state == State.WAITING]
        for step in skipped:
            self.state[step] = State.SKIPPED
        self._ready.clear()
        return skipped

    def _leave_pool(self, step: Step) -> None:
        pool, _ = _pool(step)
        if pool:
            self._in_pool[pool] -= 1


def _pool(step: Step) -> tuple[str, int]:
    return (step.op.policy.pool, step.op.policy.pool_size) if isinstance(step.op, Run) else ("", 0)
