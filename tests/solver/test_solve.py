"""The solver against fakes: what runs, what does not, and in which order; no process, no disk."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from buildkit_py.events import StepFinished
from buildkit_py.graph.step import Step
from buildkit_py.solver.solve import Solution, Solver
from tests.solver.fakes import MemoryCache, ScriptedExecutor, context, copy, image, run, web

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.events import Event
    from buildkit_py.executor.result import Result


class Bench:
    """A cache and an executor that several builds share."""

    def __init__(self) -> None:
        self.cache = MemoryCache()
        self.executor = ScriptedExecutor(self.cache)
        self.events: list[Event] = []
        self.told: list[str] = []
        self.hears: Callable[[str], object] = lambda name: None

    def solve(self, *targets: Step, jobs: int = 2, keep_going: bool = False) -> Solution:
        self.executor.ran.clear()
        self.events.clear()
        self.told.clear()
        solver = Solver(
            self.cache,
            self.executor,
            self.events.append,
            lambda: 0.0,
            jobs=jobs,
            keep_going=keep_going,
            on_result=self._hear,
            now=lambda: self.cache.time,
        )
        return solver.solve(targets)

    def _hear(self, step: Step, result: Result) -> None:
        self.told.append(f"{step.name} {result.snapshot.count('/')}")
        self.hears(step.name)

    @property
    def ran(self) -> list[str]:
        return self.executor.ran

    def states(self) -> dict[str, str]:
        return {event.step_id: event.state for event in self.events if isinstance(event, StepFinished)}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_everything_runs_once_then_nothing(bench: Bench) -> None:
    def graph() -> Step:
        return run("b", copy("src", run("a", image()), context()))

    first = bench.solve(graph())
    assert bench.ran == ["a", "COPY src", "b"]
    assert (first.ran, first.cached) == (3, 0)
    top = graph()
    second = bench.solve(top)
    assert bench.ran == []
    assert (second.ran, second.cached) == (0, 3)
    assert second.results[top].snapshot


def test_each_result_is_told_also_beside_one_that_failed(bench: Bench) -> None:
    bench.solve(run("b", run("a", image())))
    assert bench.told == ["FROM 0", "a 1", "b 2"]
    bench.executor.fails.add("d")
    known = run("a", image())
    bench.solve(run("d", run("c", known)), run("e", known), keep_going=True)
    assert bench.told[:2] == ["FROM 0", "a 1"]
    assert sorted(bench.told[2:]) == ["c 2", "e 2"]


def test_results_are_told_while_a_step_runs(bench: Bench) -> None:
    """What is made of them is made beside it."""
    told = threading.Barrier(2)
    bench.executor.hold["b"] = told  # it ends when it was told of the one before

    def hears(name: str) -> None:
        if name == "a":
            told.wait(10)

    bench.hears = hears
    bench.solve(run("b", run("a", image())))
    assert bench.told == ["FROM 0", "a 1", "b 2"]


def test_the_executor_hears_what_is_to_be_performed(bench: Bench) -> None:
    bench.solve(run("b", copy("src", run("a", image()), context())))
    bench.executor.files["src"] = "changed"
    bench.solve(run("b", copy("src", run("a", image()), context())))
    bench.solve(run("b", copy("src", run("a", image()), context())))
    assert bench.executor.foreseen == [["a", "COPY src", "b"], ["COPY src", "b"]]


def test_the_executor_hears_how_many_runs_there_are_at_once(bench: Bench) -> None:
    top = run("top", image())
    sides = [run(side, top) for side in "abc"]
    bench.solve(run("c", run("b", run("a", image()))), jobs=8)
    assert bench.executor.at_once == 1
    bench.solve(*sides, jobs=8)
    assert bench.executor.at_once == 3
    bench.solve(*[run("other", side) for side in sides], run("d", top), jobs=2)
    assert bench.executor.at_once == 2


def test_a_first_copy_is_not_read_twice(bench: Bench) -> None:
    bench.solve(copy("src", image(), context()))
    assert bench.executor.digested == 0
    bench.solve(copy("src", image(), context()))
    assert bench.executor.digested == 1
    assert bench.ran == []


def test_a_changed_file_reruns_from_its_copy(bench: Bench) -> None:
    def graph() -> Step:
        return run("b", copy("src", run("a", image()), context()))

    bench.solve(graph())
    bench.executor.files["src"] = "new"
    bench.solve(graph())
    assert bench.ran == ["COPY src", "b"]
    bench.executor.files["src"] = ""
    bench.solve(graph())
    assert bench.ran == [], "the old state is still known"


def test_early_cutoff_stops_at_the_first_step_that_comes_out_equal(bench: Bench) -> None:
    def graph(first: str) -> Step:
        return run("c", run("b", run(first, image())))

    bench.executor.writes.update({"gen": "same", "gen # comment": "same"})
    old = graph("gen")
    before = bench.solve(old).results[old]
    new = graph("gen # comment")
    after = bench.solve(new).results[new]
    assert bench.ran == ["gen # comment"]
    assert after == before, "the same layers, so the same image"
    bench.solve(graph("gen # comment"))
    assert bench.ran == [], "the hit under the content key was filed under the definition key"


def test_a_step_that_writes_nothing_adds_nothing(bench: Bench) -> None:
    def graph(extra: bool) -> Step:
        base = image()
        return run("b", run("true", base) if extra else base)

    bench.executor.writes["true"] = ""
    bench.solve(graph(False))
    with_extra = graph(True)
    result = bench.solve(with_extra).results[with_extra]
    assert bench.ran == ["true"]
    assert len(result.snapshot.split("/")) == 3, "the empty layer is in the image all the same"


def test_a_new_base_reruns_all(bench: Bench) -> None:
    bench.solve(run("a", image("d1")))
    bench.solve(run("a", image("d2")))
    assert bench.ran == ["a"]


def test_a_linked_copy_outlives_its_base(bench: Bench) -> None:
    bench.solve(copy("src", image("d1"), context(), link=True))
    top = copy("src", image("d2"), context(), link=True)
    solution = bench.solve(top)
    assert bench.ran == []
    assert solution.results[top].snapshot.startswith("base@d2/")


def test_what_reads_a_linked_copy_reads_what_is_below_it(bench: Bench) -> None:
    def graph(digest: str) -> Step:
        return run("use", image(), copy("src", image(digest), context(), link=True))

    bench.solve(graph("d1"))
    bench.solve(graph("d2"))
    assert bench.ran == ["use"]


def test_a_source_that_another_build_made_anew_is_read_again(bench: Bench) -> None:
    def graph(again: bool) -> tuple[Step, Step]:
        stage = run("date", image(), ignore_cache=again)
        return stage, run("use", copy("out", image(), stage))

    bench.executor.writes["date"] = "monday"
    bench.solve(graph(False)[1])
    bench.executor.writes["date"] = "tuesday"
    bench.solve(graph(True)[0])
    bench.solve(graph(False)[1])
    assert bench.ran == ["COPY out", "use"]
    bench.solve(graph(False)[1])
    assert bench.ran == []


def test_a_base_that_another_build_made_anew_reaches_all_above_it(bench: Bench) -> None:
    def graph(again: bool) -> tuple[Step, Step]:
        stage = run("date", image(), ignore_cache=again)
        return stage, run("c", run("b", run("a", stage)))

    bench.executor.writes["date"] = "monday"
    bench.solve(graph(False)[1])
    bench.executor.writes["date"] = "tuesday"
    bench.solve(graph(True)[0])
    bench.solve(graph(False)[1])
    assert bench.ran == ["a", "b", "c"]


def test_copy_from_a_stage_is_keyed_by_what_the_stage_came_to(bench: Bench) -> None:
    def graph(command: str) -> Step:
        return run("use", copy("out", image(), run(command, image())))

    bench.executor.writes.update({"make": "same", "make -j2": "same"})
    bench.solve(graph("make"))
    bench.solve(graph("make -j2"))
    assert bench.ran == ["make -j2"]


def test_no_cache_reruns_the_step_and_what_changed_above(bench: Bench) -> None:
    def graph(fresh: bool) -> Step:
        return run("b", run("a", image(), ignore_cache=fresh))

    bench.solve(graph(False))
    bench.solve(graph(True))
    assert bench.ran == ["a"], "it wrote the same again"
    bench.executor.writes["a"] = "other"
    bench.solve(graph(True))
    assert bench.ran == ["a", "b"]


def test_a_rerun_base_is_not_forgotten_when_that_build_failed(bench: Bench) -> None:
    """Never stale: the record of `b` stands on the old `a`, and the build that made a new `a` ended before `b`."""

    def graph(fresh: bool) -> Step:
        return run("b", run("a", image(), ignore_cache=fresh))

    bench.solve(graph(False))
    bench.executor.writes["a"] = "other"
    bench.executor.fails.add("b")
    assert bench.solve(graph(True)).failures
    bench.executor.fails.clear()
    bench.solve(graph(False))
    assert bench.ran == ["b"]


def test_an_evicted_layer_is_made_again(bench: Bench) -> None:
    def graph() -> Step:
        return run("b", run("a", image()))

    top = graph()
    layer = bench.solve(top).results[top].layer
    bench.cache.gone.add(layer)
    bench.solve(graph())
    assert bench.ran == ["b"]


def test_an_evicted_record_below_a_hit_is_not_missed(bench: Bench) -> None:
    def graph() -> tuple[Step, Step]:
        a = run("a", image())
        return a, run("b", a)

    _, b = graph()
    bench.solve(b)
    dead = [key for key, record in bench.cache.records.items() if record.name == "a"]
    for key in dead:
        del bench.cache.records[key]
    _, top = graph()
    bench.solve(top)
    assert bench.ran == []


def test_independent_steps_run_at_the_same_time(bench: Bench) -> None:
    barrier = threading.Barrier(2)
    bench.executor.hold.update(a=barrier, b=barrier)
    base = image()
    solution = bench.solve(run("c", run("a", base), run("b", base)), jobs=2)
    assert not solution.failures
    assert bench.ran[-1] == "c"


def test_one_job_runs_one_after_the_other(bench: Bench) -> None:
    base = image()
    bench.solve(run("c", run("a", base), run("b", base)), jobs=1)
    assert bench.ran == ["a", "b", "c"]


def test_equal_steps_of_one_build_run_once(bench: Bench) -> None:
    bench.solve(run("a", image()), run("a", image()), jobs=2)
    assert bench.ran == ["a"]


def test_the_first_failure_stops_new_work(bench: Bench) -> None:
    base = image()
    bench.executor.fails.add("bad")
    solution = bench.solve(run("x", run("bad", base)), run("good", base), run("later", base), jobs=1)
    assert [str(problem) for problem in solution.failures] == ["bad failed"]
    assert bench.ran == ["bad"]
    assert sorted(bench.states().values()) == ["CACHED", "FAILED", "SKIPPED", "SKIPPED", "SKIPPED"]


def test_keep_going_does_all_that_can_be_done(bench: Bench) -> None:
    base = image()
    bench.executor.fails.update({"bad", "worse"})
    solution = bench.solve(run("x", run("bad", base)), run("worse", base), run("good", base), jobs=1, keep_going=True)
    assert len(solution.failures) == 2
    assert set(bench.ran) == {"bad", "worse", "good"}


def test_a_bug_is_not_taken_for_a_failed_step(bench: Bench) -> None:
    bench.executor.writes = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        bench.solve(run("a", image()))
    assert bench.executor.cancelled.is_set()


def test_plan_says_what_would_happen(bench: Bench) -> None:
    def graph() -> Step:
        return run("c", run("b", copy("src", run("a", image()), context())))

    bench.solve(graph())
    bench.executor.files["src"] = "new"
    solver = Solver(bench.cache, bench.executor, bench.events.append, lambda: 0.0)
    plan = [(step.name, verdict) for step, verdict, _ in solver.plan([graph()])]
    assert plan == [("FROM", "CACHED"), ("a", "CACHED"), ("COPY src", "RUN"), ("b", "UNKNOWN"), ("c", "UNKNOWN")]


def test_a_chain_of_10000_steps_needs_no_recursion(bench: Bench) -> None:
    def graph() -> Step:
        top = image()
        for number in range(10_000):
            top = run(str(number), top)
            bench.executor.writes[str(number)] = ""
        return top

    bench.cache.push = lambda base, layer: f"{base[:20]}/{layer}"  # type: ignore[method-assign]
    bench.solve(graph())
    assert len(bench.ran) == 10_000


def test_a_source_that_moves_is_asked_at_each_build_and_made_once(bench: Bench) -> None:
    def graph() -> Step:
        return run("above", copy("f", image(), web("u")))

    bench.executor.web["u"] = "v1"
    assert (bench.solve(graph()).ran, bench.executor.asked) == (3, ["u"])
    again = bench.solve(graph())
    assert (again.ran, again.cached, bench.executor.asked) == (0, 3, ["u", "u"])
    bench.executor.web["u"] = "v2"
    assert bench.solve(graph()).ran == 3
    bench.executor.web["u"] = "v1"
    assert bench.solve(graph()).ran == 0


def test_a_pinned_source_is_not_asked(bench: Bench) -> None:
    bench.executor.web["u"] = "v1"
    bench.solve(copy("f", image(), web("u")))
    bench.executor.asked.clear()
    assert bench.solve(copy("f", image(), web("mirror", "v1"))).ran == 0
    assert bench.executor.asked == []


def test_a_plan_asks_nobody(bench: Bench) -> None:
    top = copy("f", image(), web("u"))
    solver = Solver(bench.cache, bench.executor, bench.events.append, lambda: 0.0)
    assert [(step.name, verdict, reason) for step, verdict, reason in solver.plan([top])][1:] == [
        ("u", "RUN", "its server is asked at each build"),
        ("COPY f", "UNKNOWN", "depends on a step that runs"),
    ]
    assert bench.executor.asked == []
