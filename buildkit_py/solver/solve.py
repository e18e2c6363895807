"""The solver: from targets to results, running only what has no result yet, as much at once as allowed.

The calling thread owns the plan and hands ready steps to worker threads; a
worker looks under the content key, runs the step if need be, and files the
record. So the same code decides for one job and for sixteen.
"""

from __future__ import annotations

import time
from itertools import count

from buildkit_py.digest import key_of
from buildkit_py.errors import ContextError, PybuildError, SandboxError, StepFailed
from buildkit_py.events import StepFinished, StepQueued, StepStarted
from buildkit_py.executor.result import Made, Result
from buildkit_py.graph.op import HostSource, ImageSource, LocalSource, Run, is_silent, moves
from buildkit_py.graph.step import inputs
from buildkit_py.graph.step_key import content_key
from buildkit_py.record import Record
from buildkit_py.solver import keys
from buildkit_py.solver.lookup import Lookup, must_run
from buildkit_py.solver.plan import Plan, State
from buildkit_py.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, Protocol

    from buildkit_py.events import Emit
    from buildkit_py.graph.op import Op
    from buildkit_py.graph.step import Step
    from buildkit_py.solver.lookup import Cache, Roots
    from buildkit_py.store.records import StepRecord

    class Executor(Roots, Protocol):
        """What performs one op."""

        def source_digest(self, step: Step, index: int, source: Result) -> str:
            """The content digest of what a step takes from its source `index`."""

        def foresee(self, steps: Sequence[Step], at_once: int) -> None:
            """Hear which steps are to be performed, inputs first, so many of them at the same time at most; some may
            turn out to have a result.
            """

        def settled(self, step: Step, step_id: str) -> Op:
            """The op of a source that moves, with what its server says it is now. Raises as `execute`."""

        def execute(self, step: Step, step_id: str, base: Result | None, sources: Sequence[Result]) -> Made:
            """Do it. Raises `StepFailed` or another `PybuildError`."""

        def lock(self, step: Step, key: str) -> AbstractContextManager[Any]:
            """Keeps other builds from running the same step at the same time."""

        def cancel(self) -> None:
            """End everything that runs, now; running `execute` calls raise."""


# A signal that comes just before the main thread goes to sleep does not wake it: Python runs handlers between two
# instructions. So it never sleeps for longer than this.
_WAKES = 0.1
# Results are told when no step has ended for so long. Whoever packs them has the time of the commands for it, and would
# take the processor from the steps that begin.
_LULL = 0.001
# How long what was interrupted may take to put its things away.
_PATIENCE = 0.3
ASKED_EACH_TIME = "its server is asked at each build"
"""Why a source that moves is never simply cached."""


class Seen(Record):
    """What became of a step: its state, why, and how long it took."""

    state: str
    reason: str = ""
    seconds: float = 0.0


class Solution:
    """What came of a solve: the result of each step, and how many ran or were there already.

    `until` is when one of the results becomes too old (seconds since 1970), None where none ever does. `dirty` are the
    steps whose result is not what their inputs give, because it was repaired by hand or stands on one that was: each
    with the step that was repaired.
    """

    def __init__(self) -> None:
        self.results: dict[Step, Result] = {}
        self.ran = 0
        self.cached = 0
        self.failures: list[PybuildError] = []
        self.failed: dict[Step, PybuildError] = {}
        self.until: float | None = None
        self.dirty: dict[Step, Step] = {}


class Solver:
    """One build's solving.

    `clock` gives seconds since the build began, `now` those since 1970, `numbers` the ids of its steps. `on_result`
    hears of each result, after a moment in which no step ended and before `solve` returns. `mend` is asked
    for another result of a step that failed, once no step runs any more, and on the thread that solves; or gives the
    failure that it is to end with. Its result is dirty.
    """

    def __init__(
        self,
        cache: Cache,
        executor: Executor,
        emit: Emit,
        clock: Callable[[], float],
        *,
        jobs: int = 1,
        keep_going: bool = False,
        on_result: Callable[[Step, Result], None] = lambda step, result: None,
        numbers: Iterator[int] | None = None,
        now: Callable[[], float] = time.time,
        mend: Callable[[Step, StepFailed], Made | PybuildError] | None = None,
    ) -> None:
        self.cache = cache
        self.executor = executor
        self.emit = emit
        self.clock = clock
        self.jobs = max(1, jobs)
        self.keep_going = keep_going
        self.on_result = on_result
        self.mend = mend
        self.lookup = Lookup(cache, executor, now)
        self.ids: dict[Step, str] = {}
        self.seen: dict[Step, Seen] = {}
        self.unlike: dict[Step, StepRecord] = {}  # earlier results of the same content, of steps that gave another one
        self.contents: dict[Step, str] = {}  # content keys, of the steps whose result had to be looked for by them
        self.dirty: dict[Step, Step] = {}  # as a solution has it
        self._numbers = numbers if numbers is not None else count(1)
        self._untold: list[tuple[Step, Result]] = []

    def plan(self, targets: Sequence[Step]) -> list[tuple[Step, str, str]]:
        """What would happen, without doing it: (step, "CACHED" | "RUN" | "UNKNOWN", reason) for each step.

        UNKNOWN is a step whose inputs must run first, or be looked into: it will not run if they come out unchanged.
        """
        needed = set(self.lookup.run(targets))
        out: list[tuple[Step, str, str]] = []
        for step in self.lookup.order:
            if step in needed and (found := self._foreseen(step)) is not None:
                self.lookup.result[step] = found
                needed.discard(step)
            if is_silent(step.op):
                continue
            self.ids[step] = str(next(self._numbers))
            if step not in needed:
                out.append((step, "CACHED", ""))
            elif self.forced(step):
                out.append((step, "RUN", self._reason(step)))
            elif any(child in needed for child in inputs(step)):
                out.append((step, "UNKNOWN", "depends on a step that runs"))
            elif self._may_take_the_same(step):
                out.append((step, "UNKNOWN", self._reason(step)))
            else:
                out.append((step, "RUN", self._reason(step)))
        return out

    def _foreseen(self, step: Step) -> Result | None:
        """What a build would find for a step that has no result of its own, where that takes nothing but looking."""
        look = self.lookup
        if self.forced(step) or moves(step.op) or any(child not in look.result for child in inputs(step)):
            return None
        sources = [look.result[source] for source in step.sources]
        if any(source.local is None for source in sources):
            return None  # another filesystem may have to be fetched and unpacked for it
        base = look.result[step.base] if step.base is not None else None
        return self._found(step, base.snapshot if base is not None else "", base, sources, file=False)

    def _may_take_the_same(self, step: Step) -> bool:
        """Whether a step ran before and takes files of others, which only a build compares by what they hold."""
        others = any(not isinstance(source.op, LocalSource) for source in step.sources)
        return others and self.cache.has_op(self.lookup.parts[step])

    def solve(self, targets: Sequence[Step]) -> Solution:
        """Results for all targets. Failures are collected in the solution, not raised.

        `KeyboardInterrupt` cancels everything that runs and is passed on.
        """
        needed = self.lookup.run(targets)
        solution = Solution()
        solution.results = self.lookup.result
        solution.dirty = self.dirty
        self._announce(set(needed), solution)
        if needed:
            self._work(needed, solution)
        self._tell_results()
        solution.until = min(self.lookup.ends, default=None)
        return solution

    def _work(self, needed: list[Step], solution: Solution) -> None:
        """Bring the steps that have no result to one."""
        plan = Plan(needed)
        self.executor.foresee(needed, min(self.jobs, plan.width))
        from _queue import SimpleQueue

        todo: SimpleQueue[Step | None] = SimpleQueue()
        done: SimpleQueue[tuple[Step, str, Result | None, BaseException | None, float]] = SimpleQueue()
        workers = self._start_workers(min(self.jobs, len(needed)), todo, done)
        try:
            self._drive(plan, solution, todo, done)
        except BaseException:
            self.executor.cancel()
            self._end(workers, todo, _PATIENCE)
            raise
        self._end(workers, todo, 0.0)

    def _end(self, workers: list[Thread], todo: Any, patience: float) -> None:
        """Let the workers end, and give them so many seconds to put away what they were at."""
        for _ in workers:
            todo.put(None)
        until = self.clock() + patience
        for worker in workers:
            worker.join(max(0.0, until - self.clock()))

    def _drive(self, plan: Plan, solution: Solution, todo: Any, done: Any) -> None:
        from _queue import Empty

        busy = 0
        broken: list[tuple[Step, StepFailed, float]] = []  # they wait for the others to end, and then to be mended
        while True:
            may_begin = self.keep_going or not broken
            while may_begin and busy < self.jobs and (step := plan.next_ready()) is not None:
                busy += 1
                todo.put(step)
            if busy == 0:
                if not broken:
                    return
                self._mend(plan, solution, *broken.pop(0))
                continue
            try:
                step, state, result, problem, seconds = done.get(True, _LULL if self._untold else _WAKES)
            except Empty:
                self._tell_results()
                continue
            busy -= 1
            if problem is None and result is not None:
                solution.results[step] = result
                solution.ran += state == State.DONE and not is_silent(step.op)
                solution.cached += state == State.CACHED and not is_silent(step.op)
                plan.finished(step, state)
                self._tell_finished(step, state, seconds, "same input content" if state == State.CACHED else "")
                if step not in self.dirty:
                    self._untold.append((step, result))
                continue
            if self.mend is not None and isinstance(problem, StepFailed):
                broken.append((step, problem, seconds))
            else:
                self._fail(plan, solution, step, problem, seconds)

    def _fail(self, plan: Plan, solution: Solution, step: Step, problem: BaseException | None, seconds: float) -> None:
        """Give a step up, with all that stands on it. What is no `PybuildError` is raised."""
        above = plan.failed(step)
        self._tell_finished(step, State.FAILED, seconds, getattr(problem, "reason", ""))
        if not isinstance(problem, PybuildError):
            raise problem if problem is not None else RuntimeError("a step ended without a result")
        solution.failures.append(problem)
        solution.failed[step] = problem
        for other in above:
            self._tell_finished(other, State.SKIPPED, 0.0, "an input failed")
        if not self.keep_going:
            for other in plan.stop():
                self._tell_finished(other, State.SKIPPED, 0.0, "another step failed")

    def _mend(self, plan: Plan, solution: Solution, step: Step, problem: StepFailed, seconds: float) -> None:
        """Have a step that failed mended, where the build goes on at all; else give it up."""
        assert self.mend is not None
        made: Made | PybuildError = problem
        if self.keep_going or not solution.failures:
            made = self.mend(step, problem)
        if isinstance(made, PybuildError):
            self._fail(plan, solution, step, made, seconds)
            return
        self.dirty[step] = step
        solution.results[step] = made.result
        solution.ran += 1
        plan.finished(step, State.DONE)
        self._tell_finished(step, State.DONE, seconds, "repaired by hand")

    def _announce(self, needed: set[Step], solution: Solution) -> None:
        visible = [step for step in self.lookup.order if not is_silent(step.op)]
        for step in visible:
            id = self.ids[step] = str(next(self._numbers))
            self.emit(StepQueued(id, step.name, step.position))
        for step in visible:
            if step not in needed:
                solution.cached += not isinstance(step.op, ImageSource | HostSource)
                self._tell_finished(step, State.CACHED, 0.0, "")
                result = self.lookup.result.get(step)
                if result is not None:
                    self._untold.append((step, result))

    def _tell_results(self) -> None:
        while self._untold:
            self.on_result(*self._untold.pop(0))

    def _tell_finished(self, step: Step, state: str, seconds: float, reason: str) -> None:
        self.seen[step] = Seen(state, reason, seconds)
        if not is_silent(step.op):
            self.emit(StepFinished(self.ids[step], state, seconds, self.clock(), reason))

    def forced(self, step: Step) -> str:
        """Why a step runs whatever its key says; "" where it does not."""
        if isinstance(step.op, Run) and step.op.policy.always:
            return "runs in every build"
        if must_run(step):
            return "asked not to use the cache"
        fresh = self.lookup.fresh  # also what stands on one that is
        if step not in fresh or any(child in fresh for child in inputs(step)):
            return ""
        return "has no result that is young enough"

    def _reason(self, step: Step) -> str:
        if forced := self.forced(step):
            return forced
        if moves(step.op):
            return ASKED_EACH_TIME
        if not self.cache.has_op(self.lookup.parts[step]):
            return "never run"
        return "what it stands on changed"

    def _start_workers(self, count: int, todo: Any, done: Any) -> list[Thread]:
        def work() -> None:
            while (step := todo.get()) is not None:
                began = self.clock()
                try:
                    state, result = self._work_on(step)
                    done.put((step, state, result, None, self.clock() - began))
                except BaseException as problem:  # handed to the owner of the plan, who decides
                    done.put((step, State.FAILED, None, problem, self.clock() - began))

        return [Thread(work) for _ in range(count)]

    def _work_on(self, step: Step) -> tuple[str, Result]:
        """In a worker: the result of one step whose inputs are done, found or made."""
        look = self.lookup
        if moves(step.op):
            self.emit(StepStarted(self.ids[step], self.clock()))
            look.settle(step, self.executor.settled(step, self.ids[step]))
        base = look.result[step.base] if step.base is not None else None
        below = base.snapshot if base is not None else ""
        sources = [look.result[source] for source in step.sources]
        repaired = next((self.dirty[child] for child in inputs(step) if child in self.dirty), None)
        if repaired is not None:
            # Its keys stand for what its inputs should have been: under them nothing of it may be filed, ever.
            self.dirty[step] = repaired
            return State.DONE, self._execute(step, base, sources).result
        if (found := self._found(step, below, base, sources)) is not None:
            return State.CACHED, found
        with self.executor.lock(step, look.definition.get(step) or key_of("op", look.parts[step])):
            # Another build, or an equal step of this one, may have done it while this one waited.
            if (found := self._found(step, below, base, sources)) is not None:
                return State.CACHED, found
            began = look.now()
            made = self._execute(step, base, sources)
            definition = look.define(step, made.source_digests)
            content = self._content_key(step, base, sources, made.source_digests)
            parts = self._record_parts(step, below)
            earlier = self.cache.put(step, definition or "", content, parts, made, look.read_from(step))
            if earlier is not None:
                self.unlike[step] = earlier
            look.ran(step, began)
            return State.DONE, made.result

    def _execute(self, step: Step, base: Result | None, sources: Sequence[Result]) -> Made:
        if not moves(step.op) and not is_silent(step.op):
            self.emit(StepStarted(self.ids[step], self.clock()))
        try:
            return self.executor.execute(step, self.ids.get(step, ""), base, sources)
        except PybuildError as problem:
            if problem.at is None or (
                isinstance(problem, SandboxError | ContextError) and not hasattr(problem.at, "line")
            ):
                problem.place(step.position)
            raise

    def _found(
        self, step: Step, below: str, base: Result | None, sources: Sequence[Result], *, file: bool = True
    ) -> Result | None:
        """What is there for a step whose inputs have their results; filed under its definition key, too, if `file`."""
        look = self.lookup
        # The first pass could not know the key of a step above a COPY that had to run first.
        definition = look.define(step)
        if definition is None:
            return None
        if step not in look.fresh and (found := look.found(step, definition)) is not None:
            return found
        if must_run(step):
            return None
        record = self.cache.get(self._content_key(step, base, sources))
        if record is None or not look.young(step, record):
            return None
        snapshot = self.cache.push(below, record.layer)
        if file:
            self.cache.refile(record, definition, self._record_parts(step, below), snapshot, look.read_from(step))
        return Result(snapshot, record.layer, record.text)

    def _record_parts(self, step: Step, below: str) -> tuple[Any, ...]:
        look = self.lookup
        return (
            ("op", look.parts[step]),
            ("base", look.definition.get(step.base, "") if step.base is not None else "", below),
            ("sources", look.source_parts.get(step, ())),
        )

    def _content_key(
        self, step: Step, base: Result | None, sources: Sequence[Result], known: Sequence[str] = ()
    ) -> str:
        base_content = ""
        if base is not None and keys.uses_base(step.op):
            base_content = self.cache.content(base.snapshot)
        digests = []
        for index, source in enumerate(sources):
            if index < len(known) and known[index]:
                digests.append(known[index])
            elif source.local is not None:
                digests.append(self.executor.context_digest(step, index))
            else:
                try:
                    digests.append(self.executor.source_digest(step, index, source))
                except PybuildError as problem:
                    problem.place(step.position)
                    raise
        key = self.contents[step] = content_key(self.lookup.parts[step], base_content, tuple(digests))
        return key
