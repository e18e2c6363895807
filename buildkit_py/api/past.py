"""The past: earlier builds of the same file, and which of their steps one of this build is to be compared with."""

from __future__ import annotations

import os
from itertools import islice

from buildkit_py.record import Record
from buildkit_py.solver import explain
from buildkit_py.solver.align import align
from buildkit_py.solver.explain import Cause, Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from buildkit_py.store.build_record import BuildRecord, StepSeen
    from buildkit_py.store.records import StepRecord
    from buildkit_py.store.store import Store

GAVE_A_RESULT = ("DONE", "CACHED")
# Further back than this nothing is told: what was never built in so many builds is as good as new.
_BUILDS_READ = 50
_SHORT = 19  # sha256: and twelve digits, as docker shortens


class Earlier(Record):
    """A step of an earlier build: the build, and where in its list the step is."""

    build: BuildRecord
    position: int

    @property
    def step(self) -> StepSeen:
        """What that build saw of it."""
        return self.build.steps[self.position]


class Past:
    """Earlier builds as seen from the steps of one. `store` is where they were made, which may be another machine's."""

    def __init__(
        self, store: Store, file: str, steps: Sequence[StepSeen], before: str = "", *, here: Store | None = None
    ) -> None:
        """Builds that began before the one called `before`. `here` is the store of the steps, where that is another:
        there the project may lie in another directory, so only the file's name has to be the same.
        """
        self.store = store
        self._here = here or store
        self._steps = steps
        self._builds = islice(_builds(store, file, before, here is not None), _BUILDS_READ)
        self._read: list[BuildRecord] = []
        self._pairs: list[dict[int, int]] = []  # of the first of these: to read a build is quicker than to align it
        self._unlike: dict[str, Earlier] | None = None

    def step(self, position: int) -> Earlier | None:
        """The newest earlier step that this one was made from by an edit and that had a result for others, too."""
        for build, pairs in self._aligned():
            other = pairs.get(position)
            if other is not None and build.steps[other].state in GAVE_A_RESULT and not build.steps[other].dirty:
                return Earlier(build, other)
        return None

    def unlike(self, position: int) -> Earlier | None:
        """The newest earlier step that had the same key as this one and gave something else than before that."""
        if self._unlike is None:
            self._unlike = {}
            for build in self._all():
                for other, seen in enumerate(build.steps):
                    if seen.unlike:
                        for key in (seen.content, seen.definition):
                            self._unlike.setdefault(key, Earlier(build, other))
        mine = self._steps[position]
        found = [self._unlike[key] for key in (mine.content, mine.definition) if key and key in self._unlike]
        return found[0] if found else None

    def without_result(self, position: int) -> tuple[Cause, str]:
        """Why there is no result of a step that no earlier build has one of; in which build that was seen, or ""."""
        for build, pairs in self._aligned():
            other = pairs.get(position)
            if other is None:
                continue
            if build.steps[other].state == "FAILED":
                return Cause(explain.FAILED, f"it failed in the build {build.id}"), build.id
            if build.steps[other].dirty:
                what = f"its result in the build {build.id} came of a repair by hand, and was for that build only"
                return Cause(explain.FAILED, what), build.id
        return Cause(explain.NEW, "it was never built here"), ""

    def gave_the_same(self, step: StepSeen, other: StepSeen) -> bool:
        """Whether a step and one of an earlier build wrote the same. A layer's own name holds what it lies on, too."""
        if not step.layer or not other.layer or step.layer == other.layer:
            return step.layer == other.layer
        metas = (self._here.layers.get(step.layer), self.store.layers.get(other.layer))
        return None not in metas and len({meta.content for meta in metas if meta is not None}) == 1

    def _all(self) -> Iterator[BuildRecord]:
        yield from self._read
        for build in self._builds:
            self._read.append(build)
            yield build

    def _aligned(self) -> Iterator[tuple[BuildRecord, dict[int, int]]]:
        for number, build in enumerate(self._all()):
            if number == len(self._pairs):
                self._pairs.append(align(self._steps, build.steps))
            yield build, self._pairs[number]

    def in_build(self, position: int, build: BuildRecord) -> StepSeen | None:
        """The same step in one certain earlier build."""
        for known, pairs in zip(self._read, self._pairs, strict=False):
            if known is build:
                other = pairs.get(position)
                return build.steps[other] if other is not None else None
        return None


def _builds(store: Store, file: str, before: str, elsewhere: bool) -> Iterator[BuildRecord]:
    """The builds of a file, newest first, those that began before one."""
    name = os.path.basename(file)
    for id in store.builds.all():
        if before and id >= before:
            continue
        build = store.builds.get(id)
        if build is not None and (build.file == file or (elsewhere and os.path.basename(build.file) == name)):
            yield build


def record_of(store: Store, seen: StepSeen) -> StepRecord | None:
    """The store's record of a step, if it still has it; `listings` are only in the one under its content key."""
    first = store.records.read(seen.definition) if seen.definition else None
    content = seen.content or (first.content if first is not None else "")
    return (store.records.read(content) if content else None) or first


def facts(record: StepRecord) -> Facts:
    """What the result in a record hung on."""
    parts: dict[str, Any] = {part[0]: part for part in record.parts}
    return Facts(parts["op"][1], parts["listings"][1] if "listings" in parts else ())


def below(steps: Sequence[StepSeen], position: int, past: Past, earlier: Earlier, *, base: bool = True) -> list[Cause]:
    """What changed in the filesystems that a step stands on and reads: for each the nearest step that differs.

    Without `base` only in those that it reads.
    """
    step = steps[position]
    causes = []
    for start in dict.fromkeys((step.base, *step.sources) if base else step.sources):
        found = _first_difference(steps, start, past, earlier.build)
        if found is not None and found not in causes:
            causes.append(found)
    return causes


def _first_difference(steps: Sequence[StepSeen], start: int, past: Past, build: BuildRecord) -> Cause | None:
    at = start
    while at >= 0:
        step = steps[at]
        other = past.in_build(at, build)
        if step.kind in ("image", "host"):
            return _root_difference(step, other, build)
        if step.kind == "local":
            return None  # what was taken of it is told by name
        if other is None:
            return Cause(explain.INPUT, f"it stands on `{_name(steps, at)}`, which was not there")
        if not step.layer or not past.gave_the_same(step, other):
            verb = "gave other files" if step.layer else "is to run"
            return Cause(explain.INPUT, f"it stands on `{_name(steps, at)}`, which {verb}")
        at = step.base
    return None


def _name(steps: Sequence[StepSeen], at: int) -> str:
    """What people know a step as: a layer that is only laid over another base, as the step that made it."""
    while steps[at].kind == "restack" and not steps[at].id:
        at = steps[at].sources[0]
    return steps[at].name


def _root_difference(step: StepSeen, other: StepSeen | None, build: BuildRecord) -> Cause | None:
    if other is None or other.about == step.about:
        return None
    if step.kind == "host":
        return Cause(explain.BASE, "this machine's own packages or system changed since")
    name, _, digest = step.about.rpartition("@")
    old_name, _, old_digest = other.about.rpartition("@")
    since = f"of the build {build.id}"
    if name != old_name:
        return Cause(explain.BASE, f"the base image: `{old_name}` → `{name}`")
    return Cause(explain.BASE, f"the base image `{name}` moved: {old_digest[:_SHORT]} {since} → {digest[:_SHORT]}")
