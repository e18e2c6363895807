"""Finding out, before anything runs, which steps have a result already.

One pass from the inputs to the targets gives every step its definition key
and asks the cache for it; one pass back finds the steps that must be worked
on. Below a step that has its result, nothing is needed.
"""

from __future__ import annotations

import time

from buildkit_py.executor.result import Result
from buildkit_py.graph.op import Copy, HostSource, ImageSource, LocalSource, Run, moves
from buildkit_py.graph.step import in_order, inputs
from buildkit_py.graph.step_key import definition_key, read_key
from buildkit_py.solver import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol

    from buildkit_py.executor.result import Made
    from buildkit_py.graph.op import Op
    from buildkit_py.graph.step import Step
    from buildkit_py.store.records import StepRecord

    class Cache(Protocol):
        """The store as the solver sees it."""

        def get(self, key: str) -> StepRecord | None:
            """The record under a key, if the layer that it names is present."""

        def whole(self, snapshot: str) -> bool:
            """Whether every layer of a filesystem is present."""

        def push(self, base: str, layer: str) -> str:
            """The filesystem made of another and one more layer."""

        def base_of(self, snapshot: str) -> str:
            """The filesystem below the topmost layer; "" too where that is not known any more."""

        def content(self, snapshot: str) -> str:
            """The content digest of a filesystem."""

        def has_op(self, parts: tuple[Any, ...]) -> bool:
            """Whether any record was ever made by this op, whatever it stood on."""

        def put(
            self, step: Step, definition: str, content: str, parts: tuple[Any, ...], made: Made, sources: str
        ) -> StepRecord | None:
            """File a fresh result, made from these `sources`, under both keys ("" for one that is not known).

            The record of an earlier result is returned if that came from the same content and is otherwise.
            """

        def refile(
            self, record: StepRecord, definition: str, parts: tuple[Any, ...], snapshot: str, sources: str
        ) -> None:
            """File a result that was found under its content key under a definition key as well."""

    class Roots(Protocol):
        """The executor as the lookup sees it."""

        def root(self, step: Step) -> Result:
            """The result of a step that needs no work: an image, a context, the host."""

        def context_digest(self, step: Step, index: int) -> str:
            """The content digest of what a COPY takes from the local context that is its source `index`."""


class Lookup:
    """What is known of each step: its key parts, definition key, and result if there is one.

    `definition` has no entry for a step whose key cannot be known before
    some COPY from a context ran (see `_context_part`), or before a server was
    asked (`settle`). `now` gives seconds since 1970, by which records become
    too old for a `--ttl`.
    """

    def __init__(self, cache: Cache, roots: Roots, now: Callable[[], float] = time.time) -> None:
        self.cache = cache
        self.roots = roots
        self.now = now
        self.ends: list[float] = []  # when the results that this build uses become too old
        self.order: list[Step] = []
        self.parts: dict[Step, tuple[Any, ...]] = {}
        self.definition: dict[Step, str] = {}
        self.source_parts: dict[Step, tuple[tuple[str, str], ...]] = {}
        self.result: dict[Step, Result] = {}
        self.settled: set[Step] = set()  # sources whose servers were asked
        # --no-cache, --always or a --ttl that is over reaches these: their definition key proves nothing.
        self.fresh: set[Step] = set()
        # The result of a step below was made anew since: no definition key proves anything before that one is known.
        self.doubted: set[Step] = set()

    def run(self, targets: Iterable[Step]) -> list[Step]:
        """Look at every step that the targets need; return those to work on, inputs first."""
        targets = list(targets)
        self.order = list(in_order(targets))
        for step in self.order:
            self._look_at(step)
        needed: set[Step] = set()
        stack = [step for step in targets if step not in self.result]
        while stack:
            step = stack.pop()
            if step not in needed:
                needed.add(step)
                stack.extend(child for child in inputs(step) if child not in self.result)
        return [step for step in self.order if step in needed]

    def _look_at(self, step: Step) -> None:
        op = step.op
        self.parts[step] = keys.op_parts(op)
        if isinstance(op, ImageSource | HostSource | LocalSource):
            self.result[step] = self.roots.root(step)
            self.definition[step] = definition_key(self.parts[step], "", ())
            return
        if must_run(step) or any(child in self.fresh for child in inputs(step)):
            self.fresh.add(step)
        definition = self.define(step)
        if any(child in self.doubted for child in inputs(step)):
            self.doubted.add(step)
        if definition is None or step in self.fresh or step in self.doubted:
            return
        found = self.found(step, definition)
        if found is not None:
            self.result[step] = found
        elif _ttl(step):
            # What was made on the old result is not to be found above it while this one is made again.
            self.fresh.add(step)

    def found(self, step: Step, definition: str) -> Result | None:
        """The result filed under a step's definition key, if it still holds.

        It does not where it was made on another base than this build has, or
        from other sources: one of them was rerun since (`--no-cache`, `--ttl`)
        and came out different, but that build did not come to this step.
        """
        record = self.cache.get(definition)
        if record is None or not self.young(step, record):
            return None
        sources = self.read_from(step)
        if sources and record.sources != sources:
            self.doubted.add(step)
            return None
        base = self.result.get(step.base) if step.base is not None else None
        if step.base is None or base is not None:
            below = base.snapshot if base is not None else ""
            if keys.uses_base(step.op) and below != self.cache.base_of(record.snapshot):
                self.doubted.add(step)
                return None
            return Result(self.cache.push(below, record.layer), record.layer, record.text)
        # The record of the base is gone but this one is not: it holds if everything below is still there.
        if keys.uses_base(step.op) and self.cache.whole(record.snapshot):
            return Result(record.snapshot, record.layer, record.text)
        return None

    def read_from(self, step: Step) -> str:
        """One name for the filesystems of other steps that a step reads; "" where there are none, or one is not known.

        What is taken of a local context is in the definition key itself.
        """
        if not step.sources:
            return ""
        snapshots: list[str] = []
        for source in step.sources:
            result = self.result.get(source)
            if result is None:
                return ""
            snapshots.append(result.snapshot)
        return read_key(tuple(snapshots))

    def young(self, step: Step, record: StepRecord) -> bool:
        """Whether a record is young enough for its step's `--ttl`, counted from when the step began."""
        ttl = _ttl(step)
        if not ttl:
            return True
        began = record.created - record.milliseconds / 1000
        if not began <= self.now() < began + ttl:  # a time to come tells no age
            return False
        self.ends.append(began + ttl)
        return True

    def ran(self, step: Step, began: float) -> None:
        """Take note that a step began at that time (seconds since 1970) and has a new result."""
        if _ttl(step):
            self.ends.append(began + _ttl(step))

    def settle(self, step: Step, op: Op) -> None:
        """Take note of what a source that moves stands for now: `op` is the step's own, with that filled in."""
        self.settled.add(step)
        self.parts[step] = keys.op_parts(op)

    def define(self, step: Step, learnt: tuple[str, ...] = ()) -> str | None:
        """The definition key of a step, if it can be known now.

        `learnt` are the digests of what was taken from the sources, where
        the step has run and the executor knows them.
        """
        if step in self.definition:
            return self.definition[step]
        if moves(step.op) and step not in self.settled:
            return None
        # Of a linked COPY, too: the key stands for the whole filesystem to those who read it.
        base = self.definition.get(step.base) if step.base is not None else ""
        sources: list[tuple[str, str]] = []
        for index, source in enumerate(step.sources):
            if not isinstance(source.op, LocalSource):
                kind, digest = "step", self.definition.get(source)
            elif index < len(learnt) and learnt[index]:
                kind, digest = "content", learnt[index]
            else:
                kind, digest = "content", self._context_part(step, index)
            if digest is None:
                return None
            sources.append((kind, digest))
        if base is None:
            return None
        self.source_parts[step] = tuple(sources)
        self.definition[step] = definition_key(self.parts[step], base, tuple(sources))
        return self.definition[step]

    def _context_part(self, step: Step, index: int) -> str | None:
        """The digest of what a step takes from a context; None where the step should just run.

        An op that was never run cannot hit, so its files are not read twice:
        it starts at once, and its digest is learnt while it copies.
        """
        if isinstance(step.op, Copy) and not self.cache.has_op(self.parts[step]):
            return None
        return self.roots.context_digest(step, index)


def must_run(step: Step) -> bool:
    """Whether no earlier result of a step counts, whatever it was made of."""
    return isinstance(step.op, Run) and (step.op.ignore_cache or step.op.policy.always)


def _ttl(step: Step) -> int:
    return step.op.policy.ttl if isinstance(step.op, Run) else 0
