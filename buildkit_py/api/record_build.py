"""Recording a build: from what the solver saw of each step to the record that later builds are compared with."""

from __future__ import annotations

from buildkit_py.graph.op import HostSource, ImageSource, LocalSource
from buildkit_py.graph.step import inputs
from buildkit_py.store.build_record import BuildRecord, StepSeen
from buildkit_py.store.jobs import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.request import BuildRequest
    from buildkit_py.frontend.target import Target
    from buildkit_py.graph.step import Step
    from buildkit_py.solver.solve import Solver
    from buildkit_py.store.records import StepRecord
    from buildkit_py.store.store import Store


class Recorder:
    """Collects the solvers of a build (a `Buildfile.py` may want a text first) and makes its record.

    `store` has the layers of steps that gave something else than before; without one nobody is told of these.
    """

    def __init__(self, id: str, request: BuildRequest, tool: str, started: float, store: Store | None = None) -> None:
        self._store = store
        self._id = id
        self._request = request
        self._tool = tool
        self._started = started
        self._solvers: list[Solver] = []
        self.targets: tuple[Target, ...] = ()

    def watch(self, solver: Solver) -> Solver:
        """Take down what a solver does, whatever comes of it."""
        self._solvers.append(solver)
        return solver

    def outcome(self, mounts: dict[tuple[str, str], str], compression: str, epoch: int | None, *, ok: bool) -> Outcome:
        """What the steps came to, for the CI job that the build belongs to; `mounts` as `save_mounts` takes them."""
        results: dict[str, str] = {}
        needs: dict[str, tuple[str, ...]] = {}
        for solver in self._solvers:
            look = solver.lookup
            for step in look.order:
                if is_made(step) and step not in solver.dirty and step in look.result and step in look.definition:
                    results[look.definition[step]] = look.result[step].snapshot
            needs.update(stands_on(solver))
        used = tuple((*named, id) for named, id in mounts.items())
        return Outcome(tuple(results.items()), tuple(needs.items()), used, compression, epoch, ok)

    def record(self, state: str, seconds: float) -> BuildRecord:
        """What is known now; `state` is done, failed or interrupted."""
        place: dict[Step, int] = {}
        seen: list[StepSeen] = []
        for solver in self._solvers:
            for step in solver.lookup.order:
                if step not in place:
                    place[step] = len(seen)
                    seen.append(self._with_unlike(_step_seen(step, solver, place), solver.unlike.get(step)))
        targets = tuple(
            (target.name, place.get(target.step, -1) if target.step is not None else -1) for target in self.targets
        )
        request = self._request
        return BuildRecord(
            self._id, request.file, request.context, targets, self._started, seconds, state, self._tool, tuple(seen)
        )

    def _with_unlike(self, seen: StepSeen, earlier: StepRecord | None) -> StepSeen:
        """What was seen of a step, and what an earlier result of the same content has otherwise."""
        if earlier is None or self._store is None:
            return seen
        from buildkit_py.api.unlike import Unlike, unlike_layers

        if earlier.layer == seen.layer:
            unlike = Unlike((("", "the text that it wrote"),))
        else:
            unlike = unlike_layers(self._store, earlier.layer, seen.layer)
        return seen.replace(unlike=unlike.files, unlike_more=unlike.more)


def _step_seen(step: Step, solver: Solver, place: dict[Step, int]) -> StepSeen:
    """A step as a solver saw it; `place` has the positions of its inputs."""
    look = solver.lookup
    seen = solver.seen.get(step)
    reason = seen.reason if seen is not None else ""
    if seen is not None and seen.state in ("DONE", "FAILED"):
        reason = solver.forced(step)
    repaired = solver.dirty.get(step)
    if repaired is step:
        reason = "it failed, and was repaired by hand: its result was of this build only"
    elif repaired is not None:
        reason = f"it stands on `{repaired.name}`, which was repaired by hand: its result was of this build only"
    result = look.result.get(step)
    return StepSeen(
        id=solver.ids.get(step, ""),
        name=step.name,
        kind=look.parts[step][0] if step in look.parts else "",
        stage=step.stage,
        position=str(step.position) if step.position is not None else "",
        about=_about(step),
        # What is dirty is not what these keys stand for.
        definition=look.definition.get(step, "") if repaired is None else "",
        content=solver.contents.get(step, "") if repaired is None else "",
        state=seen.state if seen is not None else "",
        reason=reason,
        milliseconds=round(seen.seconds * 1000) if seen is not None else 0,
        base=place[step.base] if step.base is not None else -1,
        sources=tuple(place[source] for source in step.sources),
        layer=result.layer if result is not None else "",
        op=look.parts[step] if repaired is not None or (seen is not None and seen.state == "FAILED") else (),
        dirty=repaired is not None,
    )


def stands_on(solver: Solver) -> dict[str, tuple[str, ...]]:
    """For each step that has a record those that it stands on, by their definition keys; these come first."""
    definition = solver.lookup.definition
    made = [step for step in solver.lookup.order if step in definition and is_made(step)]
    return {
        definition[step]: tuple(definition[one] for one in inputs(step) if one in definition and is_made(one))
        for step in made
    }


def is_made(step: Step) -> bool:
    """Whether a step has a record: an image or a context is looked at anew by each build."""
    return not isinstance(step.op, ImageSource | HostSource | LocalSource)


def _about(step: Step) -> str:
    """What a step that never runs stands for."""
    match step.op:
        case ImageSource(digest=digest, reference=reference):
            return f"{reference}@{digest}" if reference else digest
        case LocalSource(root=root):
            return root
        case HostSource(fingerprint=fingerprint):
            return fingerprint
        case _:
            return ""
