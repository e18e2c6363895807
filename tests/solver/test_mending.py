"""Steps that fail and are mended, against fakes: when they are, what stands on them, and that nobody finds it later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from buildkit_py.errors import PybuildError, StepFailed
from buildkit_py.events import StepFinished
from buildkit_py.executor.result import Made, Result
from buildkit_py.graph.step import Step
from buildkit_py.solver.solve import Solution, Solver
from tests.solver.fakes import MemoryCache, ScriptedExecutor, image, run


class Bench:
    """A cache and an executor, and what mends."""

    def __init__(self) -> None:
        self.cache = MemoryCache()
        self.executor = ScriptedExecutor(self.cache)
        self.states: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self.gives_up: set[str] = set()

    def solve(self, *targets: Step, jobs: int = 2, keep_going: bool = False, mends: bool = True) -> Solution:
        self.executor.ran.clear()
        self.states.clear()
        self.asked.clear()
        mend: Callable[[Step, StepFailed], Made | PybuildError] | None = self.mend if mends else None
        solver = Solver(
            self.cache,
            self.executor,
            lambda event: self.states.append((event.step_id, event.state)) if isinstance(event, StepFinished) else None,
            lambda: 0.0,
            jobs=jobs,
            keep_going=keep_going,
            mend=mend,
        )
        return solver.solve(targets)

    def mend(self, step: Step, problem: StepFailed) -> Made | PybuildError:
        self.asked.append(f"{step.name} after {len(self.executor.ran)}")
        if step.name in self.gives_up:
            return StepFailed("it failed again")
        return Made(Result("base@d1/by@hand", "by@hand"), 0.0, 0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_mended_step_goes_on_and_nobody_finds_what_came_of_it(bench: Bench) -> None:
    def graph() -> Step:
        return run("c", run("b", run("a", image())), run("other", image()))

    bench.executor.fails.add("a")
    top = graph()
    solution = bench.solve(top)
    assert solution.failures == []
    assert sorted(bench.executor.ran) == ["a", "b", "c", "other"]
    assert solution.results[top].snapshot.startswith("base@d1/by@hand/")
    assert {step.name: repaired.name for step, repaired in solution.dirty.items()} == {"a": "a", "b": "a", "c": "a"}
    assert {record.name for record in bench.cache.records.values()} == {"other"}
    bench.executor.fails.clear()
    again = bench.solve(graph())
    assert bench.executor.ran == ["a", "b", "c"]
    assert again.dirty == {}


def test_what_was_found_before_it_is_not_believed_on_it(bench: Bench) -> None:
    def graph() -> Step:
        return run("b", run("a", image(), always=True))

    bench.solve(graph())
    bench.executor.fails.add("a")
    bench.executor.writes["b"] = "otherwise"
    before = dict(bench.cache.records)
    top = graph()
    assert bench.solve(top).results[top].snapshot.endswith("@otherwise")
    assert bench.executor.ran == ["a", "b"]
    assert bench.cache.records == before


def test_it_is_asked_once_nothing_runs_and_nothing_begins_meanwhile(bench: Bench) -> None:
    first, second = run("a", image()), run("x", image())
    bench.executor.fails.add("a")
    bench.solve(run("b", first), run("y", second), jobs=2)
    assert bench.asked == ["a after 2"]
    assert sorted(bench.executor.ran) == ["a", "b", "x", "y"]
    bench.executor.fails.add("x")
    bench.solve(run("b", run("a", image())), run("y2", run("x", image(), ignore_cache=True)), jobs=1, keep_going=True)
    assert [asked.partition(" ")[0] for asked in bench.asked] == ["a", "x"]


def test_who_gives_up_says_with_which_failure(bench: Bench) -> None:
    bench.executor.fails |= {"a", "x"}
    bench.gives_up |= {"a", "x"}
    solution = bench.solve(run("b", run("a", image())), run("y", run("x", image())), jobs=2)
    assert [problem.message for problem in solution.failures] == ["it failed again", "x failed"]
    assert len(bench.asked) == 1, "the build is at its end, and asks no more"
    assert {state for _, state in bench.states} == {"FAILED", "SKIPPED", "CACHED"}
    solution = bench.solve(run("b", run("a", image())), run("y", run("x", image())), keep_going=True)
    assert [problem.message for problem in solution.failures] == ["it failed again", "it failed again"]
    assert len(bench.asked) == 2
