"""What a Run's policy decides in the solver: `--always`, `--ttl` and `--pool`."""

from __future__ import annotations

from typing import Any

import pytest

from buildkit_py.executor.result import Made, Result
from buildkit_py.graph.op import Policy, Run
from buildkit_py.graph.step import Step
from buildkit_py.solver.plan import Plan, State
from buildkit_py.solver.solve import Solver
from tests.solver.fakes import context, copy, image, run
from tests.solver.test_solve import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_always_runs_each_time_and_stops_there_where_nothing_changed(bench: Bench) -> None:
    def graph() -> Step:
        return run("above", run("date", image(), always=True))

    bench.solve(graph())
    assert bench.ran == ["date", "above"]
    second = bench.solve(graph())
    assert bench.ran == ["date"], "what stands on it is found by its content"
    assert (second.ran, second.cached) == (1, 1)
    bench.executor.writes["date"] = "later"
    bench.solve(graph())
    assert bench.ran == ["date", "above"]


def test_a_result_counts_until_its_ttl_is_over(bench: Bench) -> None:
    def graph() -> Step:
        return run("above", run("fetch", image(), ttl=60))

    first = bench.solve(graph())
    assert first.until == bench.cache.time + 60
    bench.cache.time += 59
    second = bench.solve(graph())
    assert bench.ran == []
    assert second.until == first.until
    bench.cache.time += 1
    third = bench.solve(graph())
    assert bench.ran == ["fetch"]
    assert third.until == bench.cache.time + 60
    bench.solve(graph())
    assert bench.ran == [], "the new result counts from when it was made"


def test_a_new_result_after_a_ttl_reaches_what_stands_on_it(bench: Bench) -> None:
    def graph() -> Step:
        return run("above", run("fetch", image(), ttl=60))

    bench.solve(graph())
    bench.cache.time += 60
    bench.executor.writes["fetch"] = "newer"
    bench.solve(graph())
    assert bench.ran == ["fetch", "above"]


def test_a_lost_result_with_a_ttl_hides_what_was_made_on_it(bench: Bench) -> None:
    """The record of the step above is whole, but nobody knows any more how old what it stands on is."""

    def graph() -> Step:
        return run("above", run("fetch", image(), ttl=60))

    bench.solve(graph())
    for key in [key for key, record in bench.cache.records.items() if record.name == "fetch"]:
        del bench.cache.records[key]
    bench.solve(graph())
    assert bench.ran == ["fetch"]


def test_a_shorter_ttl_judges_what_is_there(bench: Bench) -> None:
    bench.solve(run("fetch", image(), ttl=1000))
    bench.cache.time += 100
    bench.solve(run("fetch", image(), ttl=500))
    assert bench.ran == [], "the ttl itself is in no key"
    bench.solve(run("fetch", image(), ttl=50))
    assert bench.ran == ["fetch"]


@pytest.mark.attack("S22", "K9")
def test_a_clock_set_back_makes_a_result_too_old(bench: Bench) -> None:
    bench.solve(run("fetch", image(), ttl=60))
    bench.cache.time -= 10
    bench.solve(run("fetch", image(), ttl=60))
    assert bench.ran == ["fetch"]


def test_a_ttl_above_a_copy_that_has_to_run_first(bench: Bench) -> None:
    def graph() -> Step:
        return run("above", run("fetch", copy("src", image(), context()), ttl=60))

    bench.solve(graph())
    bench.cache.time += 60
    bench.executor.files["src"] = "changed"
    bench.solve(graph())
    assert bench.ran == ["COPY src", "fetch", "above"]
    bench.executor.files["src"] = ""
    bench.cache.time += 30
    bench.solve(graph())
    assert bench.ran == ["fetch"], "the first result is 90 seconds old"


def test_the_plan_says_why(bench: Bench) -> None:
    def graph() -> Step:
        return run("date", run("fetch", image(), ttl=60), always=True)

    bench.solve(graph())
    bench.cache.time += 61
    solver = Solver(bench.cache, bench.executor, bench.events.append, lambda: 0.0, now=lambda: bench.cache.time)
    assert [(step.name, verdict, reason) for step, verdict, reason in solver.plan([graph()])][1:] == [
        ("fetch", "RUN", "has no result that is young enough"),
        ("date", "RUN", "runs in every build"),
    ]


def pooled(name: str, pool: str = "net", size: int = 1) -> Step:
    return Step(Run((name,), policy=Policy(pool=pool, pool_size=size)), name=name)


def test_a_pool_lets_only_so_many_run() -> None:
    steps = [pooled("a"), pooled("b"), Step(Run(("c",)), name="c"), pooled("d", "other")]
    plan = Plan(steps)
    assert [plan.next_ready() for _ in range(4)] == [steps[0], steps[2], steps[3], None]
    plan.finished(steps[0], State.DONE)
    assert plan.next_ready() is steps[1]


def test_a_failure_leaves_its_pool() -> None:
    steps = [pooled("a"), pooled("b")]
    plan = Plan(steps)
    assert plan.next_ready() is steps[0]
    plan.failed(steps[0])
    assert plan.next_ready() is steps[1]


def test_each_step_names_the_size_that_it_bears() -> None:
    steps = [pooled("a", size=2), pooled("b", size=1), pooled("c", size=2)]
    plan = Plan(steps)
    assert [plan.next_ready(), plan.next_ready(), plan.next_ready()] == [steps[0], steps[2], None]
    plan.finished(steps[0], State.DONE)
    assert plan.next_ready() is None
    plan.finished(steps[2], State.DONE)
    assert plan.next_ready() is steps[1]


def test_steps_of_a_pool_never_meet(bench: Bench) -> None:
    seen: list[str] = []
    execute = bench.executor.execute

    def watched(step: Step, step_id: str, base: Result | None, sources: Any) -> Made:
        seen.append(f"{step.name} begins")
        made = execute(step, step_id, base, sources)
        seen.append(f"{step.name} ends")
        return made

    bench.executor.execute = watched  # type: ignore[method-assign]
    steps = [run(name, image(), pool="x", pool_size=1) for name in "abcdef"]
    bench.solve(*steps, jobs=4)
    assert [word for line in seen for word in line.split()[1:]] == ["begins", "ends"] * 6
