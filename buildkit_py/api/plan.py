"""The plan: what a build would run and why, how long each step took the last time, on which files it hangs."""

from __future__ import annotations

import time

from buildkit_py.api.past import Past, below, facts, record_of
from buildkit_py.api.record_build import Recorder
from buildkit_py.api.request import Planned
from buildkit_py.graph.op import Copy, LocalSource, is_silent, moves
from buildkit_py.solver import explain
from buildkit_py.solver.explain import Cause, Facts, differences, ranked
from buildkit_py.solver.keys import uses_base
from buildkit_py.solver.solve import ASKED_EACH_TIME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.executor.local import LocalExecutor
    from buildkit_py.frontend.target import Target
    from buildkit_py.graph.step import Step
    from buildkit_py.solver.solve import Solver
    from buildkit_py.store.store import Store


def plan(
    store: Store,
    request: BuildRequest,
    solver: Solver,
    executor: LocalExecutor,
    targets: Sequence[Target],
    tool: str,
) -> tuple[Planned, ...]:
    """Every step that the targets need, inputs first. Raises what looking at contexts raises."""
    roots = [target.step for target in targets if target.step is not None]
    verdicts = solver.plan(roots)
    recorder = Recorder("", request, tool, time.time())
    recorder.watch(solver)
    return _Plan(store, solver, executor, recorder, request.file).planned(verdicts)


class _Plan:
    def __init__(self, store: Store, solver: Solver, executor: LocalExecutor, recorder: Recorder, file: str) -> None:
        self._store = store
        self._solver = solver
        self._executor = executor
        self._steps = recorder.record("", 0.0).steps
        self._place = {step: position for position, step in enumerate(solver.lookup.order)}
        self._past = Past(store, file, self._steps)
        self._paths: dict[Step, tuple[str, ...]] = {}

    def planned(self, verdicts: Sequence[tuple[Step, str, str]]) -> tuple[Planned, ...]:
        runs = {step for step, verdict, _ in verdicts if verdict != "CACHED"}
        return tuple(self._planned(step, verdict, runs) for step, verdict, _ in verdicts)

    def _planned(self, step: Step, verdict: str, runs: set[Step]) -> Planned:
        position = self._place[step]
        seen = self._steps[position]
        if verdict == "CACHED":
            return Planned(seen.id, step.name, verdict, position=seen.position)
        causes = self._causes(step, position)
        waits = self._waits_for(step, runs) if verdict == "UNKNOWN" else []
        paths = [path for cause in causes for path in cause.paths]
        paths += [path for child in waits for path in self._paths.get(child, ())]
        self._paths[step] = tuple(dict.fromkeys(paths))
        return Planned(
            seen.id,
            step.name,
            verdict,
            tuple(cause.text for cause in causes),
            self._paths[step],
            tuple(self._solver.ids[child] for child in waits),
            self._last(position),
            seen.position,
        )

    def _waits_for(self, step: Step, runs: set[Step]) -> list[Step]:
        """Of the steps that decide what this one comes to, those that are to run."""
        found: list[Step] = []
        todo = [step]
        while todo:
            at = todo.pop()
            for child in (at.base, *at.sources) if uses_base(at.op) else at.sources:
                if child is None or child in found:
                    continue
                if child in runs:
                    found.append(child)
                elif is_silent(child.op):
                    todo.append(child)
        return found

    def _causes(self, step: Step, position: int) -> tuple[Cause, ...]:
        look = self._solver.lookup
        if forced := self._solver.forced(step):
            return (Cause(explain.ASKED, forced),)
        if moves(step.op):
            return (Cause(explain.ASKED, ASKED_EACH_TIME),)
        earlier = self._past.step(position)
        if earlier is None:
            return (self._past.without_result(position)[0],)
        parts = look.parts[step]
        causes = below(self._steps, position, self._past, earlier, base=explain.hangs_on_base(parts))
        record = record_of(self._store, earlier.step)
        if isinstance(step.op, Copy):
            # Of one that was never run as it is now nobody asked yet.
            for number, source in enumerate(step.sources):
                if isinstance(source.op, LocalSource):
                    self._executor.context_digest(step, number)
        if record is not None:
            causes += differences(facts(record), Facts(parts, self._executor.listings(step)))
        if not causes or record is None:
            causes.append(Cause(explain.EVICTED, "its result was removed from the store since"))
        return ranked(causes)

    def _last(self, position: int) -> int:
        earlier = self._past.step(position)
        if earlier is None:
            return -1
        if earlier.step.state == "DONE":
            return earlier.step.milliseconds
        record = record_of(self._store, earlier.step)
        return record.milliseconds if record is not None else -1
