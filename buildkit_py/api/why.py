"""Why: for each step that ran in a build, what differed from the last time."""

from __future__ import annotations

import os

from buildkit_py.api.past import Past, below, facts, record_of
from buildkit_py.config import store_root
from buildkit_py.errors import UsageError
from buildkit_py.record import Record
from buildkit_py.solver import explain
from buildkit_py.solver.align import bare_name
from buildkit_py.solver.explain import Cause, Facts, differences, ranked
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.build_record import BuildRecord, StepSeen

_RAN = ("DONE", "FAILED")


class Explained(Record):
    """A step that ran, its causes, and the build that it was compared with ("" for none)."""

    step: StepSeen
    causes: tuple[Cause, ...]
    compared_with: str


class Why(Record):
    """The answer: a build, how many steps its target has, and those of them that ran."""

    build: BuildRecord
    target: str
    steps: int
    ran: tuple[Explained, ...]


def why(file: str, target: str = "", step: str = "", *, build: str = "", against: str = "", store: str = "") -> Why:
    """What made the steps of a build run.

    `file` is the Buildfile's absolute path, `target` "" all that the build was asked for, `step` a step's number or
    a part of its text, `build` the id of a build, "" for the last one. `against` is another store's directory, with
    whose builds to compare. Raises `UsageError` where there is no such build, target or step.
    """
    here = Store.open(store or store_root(os.environ))
    record = _build(here, file, target, build)
    needed = _of_target(record, target)
    chosen = [_one_step(record, needed, step)] if step else needed
    if against:
        # Another machine's builds may have begun after this one: all of them are to be compared with.
        past = Past(_other(against), record.file, record.steps, here=here)
    else:
        past = Past(here, record.file, record.steps, record.id)
    ran = [
        _explained(record, position, past, here)
        for position in chosen
        if step or (record.steps[position].id and record.steps[position].state in _RAN)
    ]
    visible = [position for position in needed if record.steps[position].id]
    return Why(record, target, len(visible), tuple(ran))


def _build(store: Store, file: str, target: str, id: str) -> BuildRecord:
    if id:
        try:
            record = store.builds.get(id)
        except ValueError:
            record = None
        if record is None:
            raise UsageError(f"nothing is known of a build `{id}`", hint="`pybuild builds` lists them")
        return record
    for record in store.builds.records():
        if record.file == file and (not target or target in [name for name, _ in record.targets]):
            return record
    what = f"the target `{target}` of `{os.path.relpath(file)}`" if target else f"`{os.path.relpath(file)}`"
    raise UsageError(f"{what} was never built here", hint="`pybuild plan` says what a build would run")


def _of_target(record: BuildRecord, target: str) -> list[int]:
    """The positions of the steps that a target needs, in their order."""
    roots = [at for name, at in record.targets if not target or name == target]
    if target and not roots:
        known = ", ".join(f"`{name}`" for name, _ in record.targets)
        raise UsageError(f"the build {record.id} has no target `{target}`", hint=f"it built {known}")
    needed: set[int] = set()
    # A build that failed early, or one that wanted a text first, has steps that no target of it reaches.
    stack = roots if target else list(range(len(record.steps)))
    while stack:
        at = stack.pop()
        if at >= 0 and at not in needed:
            needed.add(at)
            stack += (record.steps[at].base, *record.steps[at].sources)
    return sorted(needed)


def _one_step(record: BuildRecord, chosen: list[int], wanted: str) -> int:
    found = [at for at in chosen if record.steps[at].id == wanted]
    found = found or [at for at in chosen if wanted in bare_name(record.steps[at].name)]
    if not found:
        raise UsageError(
            f"no step of the build {record.id} is `{wanted}`", hint=f"`pybuild logs --list {record.id}` lists them"
        )
    if len(found) > 1:
        names = ", ".join(f"{record.steps[at].id} `{record.steps[at].name}`" for at in found[:3])
        raise UsageError(f"`{wanted}` is in the text of several steps: {names}", hint="give the number")
    return found[0]


def _explained(record: BuildRecord, position: int, past: Past, here: Store) -> Explained:
    found = _why_it_ran(record, position, past, here)
    return found.replace(causes=(*found.causes, *_unlike(record.steps[position], position, past)))


def _unlike(step: StepSeen, position: int, past: Past) -> tuple[Cause, ...]:
    """That the step is known not to be reproducible, by this build or an earlier one."""
    if step.unlike:
        return (explain.not_reproducible(step.unlike, step.unlike_more, ""),)
    earlier = past.unlike(position)
    if earlier is None:
        return ()
    return (explain.not_reproducible(earlier.step.unlike, earlier.step.unlike_more, earlier.build.id),)


def _why_it_ran(record: BuildRecord, position: int, past: Past, here: Store) -> Explained:
    step = record.steps[position]
    if step.state == "CACHED":
        reason = "it was there already" + (f" ({step.reason})" if step.reason else "")
        return Explained(step, (Cause(explain.ASKED, reason),), "")
    if step.reason and step.state in _RAN:
        return Explained(step, (Cause(explain.ASKED, step.reason),), "")
    earlier = past.step(position)
    if earlier is None:
        cause, seen_in = past.without_result(position)
        return Explained(step, (cause,), seen_in)
    theirs = record_of(past.store, earlier.step)
    mine = _facts(here, step)
    causes = below(record.steps, position, past, earlier, base=mine is None or explain.hangs_on_base(mine.op))
    if mine is not None and theirs is not None:
        causes += differences(facts(theirs), mine)
    if theirs is None:
        causes.append(Cause(explain.EVICTED, f"what the build {earlier.build.id} knew of it was removed since"))
    if not causes:
        if step.definition and step.definition == earlier.step.definition:
            causes.append(Cause(explain.EVICTED, "its result was removed from the store since"))
        elif earlier.build.tool != record.tool:
            causes.append(Cause(explain.TOOL, f"another version made it: {earlier.build.tool}, now {record.tool}"))
    return Explained(step, ranked(causes), earlier.build.id)


def _facts(store: Store, step: StepSeen) -> Facts | None:
    if step.op:
        return Facts(step.op)
    record = record_of(store, step)
    return facts(record) if record is not None else None


def _other(directory: str) -> Store:
    if not os.path.isdir(os.path.join(directory, "builds")):
        raise UsageError(f"`{directory}` is no store of pybuild", hint="`pybuild info` says where a store is")
    return Store(os.path.abspath(directory)).view(sets_aside=False)
