"""Verifying: building twice in surroundings that differ, and telling which steps came out otherwise, by file."""

from __future__ import annotations

import os
import time

from buildkit_py.api.build import build
from buildkit_py.api.elsewhere import Elsewhere
from buildkit_py.api.request import SizeLimits
from buildkit_py.api.session import Session
from buildkit_py.api.unlike import Unlike, unlike_trees
from buildkit_py.api.witness import Witness
from buildkit_py.config import config_file
from buildkit_py.errors import UsageError
from buildkit_py.events import BuildStarted
from buildkit_py.record import Record
from buildkit_py.solver.align import align

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import TypeAlias

    from buildkit_py.api.elsewhere import Varied
    from buildkit_py.api.request import BuildRequest, BuildResult
    from buildkit_py.events import Emit, Event
    from buildkit_py.store.build_record import BuildRecord, StepSeen

    Show: TypeAlias = Callable[[Callable[[Emit], BuildResult]], BuildResult]

SAME, DIFFERS, AFTER = "SAME", "DIFFERS", "AFTER"
# Whatever shows of the time in seconds is to be another one.
_APART = 1.1
_NOT_STEPS = ("image", "host", "local")


class Verdict(Record):
    """A step: SAME; DIFFERS, though all that it stands on is the same; AFTER: it does, and something below it does.

    `unlike` has the files.
    """

    step: StepSeen
    state: str
    unlike: Unlike = Unlike()


class Verified(Record):
    """The answer: what was varied, a verdict for each step, and for each target the digests of both images.

    `builds` are the ids of the two builds, of which only the first is kept.
    """

    builds: tuple[str, str]
    varied: tuple[Varied, ...]
    steps: tuple[Verdict, ...]
    images: tuple[tuple[str, str, str], ...]

    @property
    def is_reproducible(self) -> bool:
        """Whether nothing at all came out otherwise."""
        return all(one.state == SAME for one in self.steps) and all(one == two for _, one, two in self.images)


def verify(request: BuildRequest, show: Show, *, same: Collection[str] = (), scratch: str = "") -> Verified:
    """Build the targets of a request as usual, then from nothing elsewhere, and compare.

    `show` runs each of the builds and shows its progress. `same` and `scratch` are those of `Elsewhere`. Nothing is
    named or written; where a step differs, that is noted in the record of the first build. Raises what building
    raises, and `UsageError` for a build that cannot be made twice.
    """
    if "-" in (request.file, request.remote):
        raise UsageError(
            "standard input, `-`, can be read once and not built twice", hint="verify a file or a directory"
        )
    first = request.replace(
        outputs=(),
        tags=(),
        cache_to=(),
        iidfile="",
        metadata_file="",
        limits=SizeLimits(),
        image=True,
        reproducible=True,
        written=False,
    )
    witness = Witness()
    result, id = _built(first, show, witness)
    time.sleep(_APART)
    with Elsewhere(first, same=same, scratch=scratch) as elsewhere:
        with Session(first.store) as here:
            record = _record(here, id)
            elsewhere.prepare(record, _looked_at(witness))
        with elsewhere.surroundings():
            other_result, other_id = _built(elsewhere.request, show, Witness())
        with Session(first.store) as here, Session(elsewhere.request.store) as there:
            images = tuple(
                (one.name, one.image, other.image)
                for one, other in zip(result.targets, other_result.targets, strict=True)
            )
            epoch = (first.epoch or 0) if any(one != other for _, one, other in images) else None
            verdicts = _Comparison(here, there, record, _record(there, other_id), epoch).verdicts()
            _remember(here, record, verdicts)
    return Verified((id, other_id), tuple(elsewhere.varied), tuple(verdicts), images)


def _looked_at(witness: Witness) -> set[str]:
    """The files and contexts that a build took, of this machine; not its configuration, nor what was not there."""
    files = {path for path, stamp in witness.files.items() if stamp is not None}
    return (files | set(witness.places)) - {config_file(os.environ)}


def _built(request: BuildRequest, show: Show, witness: Witness) -> tuple[BuildResult, str]:
    """Build; the result and the build's id."""
    ids: list[str] = []

    def work(emit: Emit) -> BuildResult:
        def hear(event: Event) -> None:
            if isinstance(event, BuildStarted):
                ids.append(event.build_id)
            emit(event)

        return build(request, hear, witness)

    return show(work), ids[0]


def _record(session: Session, id: str) -> BuildRecord:
    record = session.store.builds.get(id)
    if record is None:
        raise UsageError(f"no record of the build {id} could be kept", hint="a full disk may be why")
    return record


def _remember(session: Session, record: BuildRecord, verdicts: list[Verdict]) -> None:
    """Note what is not reproducible, so that `pybuild why` tells it."""
    unlike = {one.step.id: one.unlike for one in verdicts if one.state == DIFFERS}
    if unlike:
        steps = [
            step.replace(unlike=found.files, unlike_more=found.more) if (found := unlike.get(step.id)) else step
            for step in record.steps
        ]
        session.store.builds.put(record.replace(steps=tuple(steps)))


class _Comparison:
    """The steps of two builds of one graph. `epoch`: times of files are compared, those after it being the same."""

    def __init__(
        self, here: Session, there: Session, record: BuildRecord, other: BuildRecord, epoch: int | None
    ) -> None:
        self._stores = (here.store, there.store)
        self._materializers = (here.materializer(), there.materializer())
        self._records = (record, other)
        self._epoch = epoch

    def verdicts(self) -> list[Verdict]:
        """One for each step that a person sees, in the order of the first build."""
        record, other = self._records
        pairs = self._pairs()
        shaken: set[int] = set()  # what differs, and all that stands on that, whether it differs or not
        found = []
        for position, step in enumerate(record.steps):
            if step.kind in _NOT_STEPS:
                continue
            pair = pairs.get(position)
            if pair is None:
                unlike: Unlike | None = Unlike((("", "the second build has no such step"),))
            else:
                unlike = self._unlike(step, other.steps[pair])
            below = any(at in shaken for at in (step.base, *step.sources))
            if below or unlike is not None:
                shaken.add(position)
            if step.id:
                state = SAME if unlike is None else AFTER if below else DIFFERS
                found.append(Verdict(step, state, unlike or Unlike()))
        for position, step in enumerate(other.steps):
            if step.id and step.kind not in _NOT_STEPS and position not in pairs.values():
                found.append(Verdict(step, DIFFERS, Unlike((("", "only the second build has such a step"),))))
        return found

    def _pairs(self) -> dict[int, int]:
        """For positions in the first build those in the second one: of one definition key, else of one text."""
        record, other = self._records
        keyed = {step.definition: position for position, step in enumerate(other.steps) if step.definition}
        pairs = align(record.steps, other.steps)
        for position, step in enumerate(record.steps):
            if step.definition in keyed:
                pairs[position] = keyed[step.definition]
        return pairs

    def _unlike(self, step: StepSeen, other: StepSeen) -> Unlike | None:
        """What two results of a step have otherwise; None where that is nothing."""
        contents = [self._content(side, layer) for side, layer in enumerate((step.layer, other.layer))]
        if contents[0] != contents[1]:
            found = self._files(step, other)
            return found if found.files else Unlike((("", "what it removed"),))
        if step.layer and self._epoch:
            found = self._files(step, other)
            if found.files:
                return found
        if self._text(0, step) != self._text(1, other):
            return Unlike((("", "the text that it wrote"),))
        return None

    def _files(self, step: StepSeen, other: StepSeen) -> Unlike:
        sides = zip(self._materializers, (step.layer, other.layer), strict=True)
        one, two = (side.trees((layer,)).directories if layer else () for side, layer in sides)
        epoch = self._epoch
        # An image's layers have whole seconds, and none after the epoch.
        return unlike_trees(one, two, (lambda mtime: min(mtime // 10**9, epoch)) if epoch else None)

    def _content(self, side: int, layer: str) -> str:
        meta = self._stores[side].layers.get(layer) if layer else None
        return "" if meta is None or meta.empty else meta.content

    def _text(self, side: int, step: StepSeen) -> str:
        record = self._stores[side].records.read(step.definition, parts=False) if step.definition else None
        return record.text if record is not None else ""
