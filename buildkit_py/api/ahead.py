"""Ahead: steps that have to be done before the graph is whole, because it is made of what they give."""

from __future__ import annotations

from buildkit_py.graph.op import moves
from buildkit_py.graph.step import in_order
from buildkit_py.solver.lookup import must_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.api.witness import Witness
    from buildkit_py.executor.local import LocalExecutor
    from buildkit_py.executor.tree import Tree
    from buildkit_py.executor.web_file import Fetched
    from buildkit_py.graph.step import Step
    from buildkit_py.solver.solve import Solution


class Ahead:
    """`executor` makes one for each call, `solve` gives the results of steps or raises, `pin` pins what a step is."""

    def __init__(
        self,
        executor: Callable[[], LocalExecutor],
        solve: Callable[[LocalExecutor, list[Step]], Solution],
        witness: Witness,
        pin: Callable[[Step], Step],
    ) -> None:
        self._executor = executor
        self._solve = solve
        self._witness = witness
        self._pin = pin

    def text(self, step: Step) -> str:
        """A step's standard output, for a file that needs it to go on."""
        step = self._pin(step)
        executor = self._executor()
        executor.expect([step])
        solution = self._solve(executor, [step])
        if seen := executor.contexts():
            for one in seen:
                self._witness.context(one)
            # The graph was made of them, so what the memo has of it would be wrong when they change.
            self._witness.impure("a text that decides the graph was made of local files")
        if any(must_run(one) or moves(one.op) for one in in_order([step])):
            self._witness.impure("a text that decides the graph may be another one in each build")
        return solution.results[step].text

    def take(self, step: Step, given: Fetched | None = None) -> tuple[Step, Tree]:
        """A step with what its sources are now, and its files. `given` holds the bytes of one of its sources."""
        executor = self._executor()
        if given is not None:
            executor.provide(given)
        executor.expect([step], as_files=True)
        solution = self._solve(executor, [step])
        return executor.pinned(step), executor.tree(solution.results[step])
