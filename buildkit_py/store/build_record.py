"""A build record: what became of each step of one build, kept so that later builds can be compared with it.

It lies beside the build's logs as `builds/ID/record`, one sealed value. The
parts of the keys are not in it: they stand in the store's records, which the
keys name.
"""

from __future__ import annotations

from buildkit_py.record import Record
from buildkit_py.store.sealed import seal, unseal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FORMAT = 1


class StepSeen(Record):
    """One step as a build saw it. `id` is the number that its log is named by.

    `kind` is the op's tag and `about` what a step that never runs stood for: an image's name and digest, a
    directory. `definition` and `content` are its keys, "" where they were not known. `state` and `reason` are
    those of `StepFinished`; the reason of a step that ran is why it had to, whatever its key said. `milliseconds`
    is how long it took now. `base` (-1: none) and `sources` are positions in the list of steps, `layer` is what
    it added. `op` are the parts of its op where no record of the store has them, because the step failed or is `dirty`:
    it, or what it stands on, was repaired by hand, and its result was of that build only.
    `unlike` are pairs of a path and how its file was otherwise than in an earlier result with the same content key,
    which shows that the step is not reproducible; `unlike_more`: there were further files.
    """

    id: str
    name: str
    kind: str
    stage: str = ""
    position: str = ""
    about: str = ""
    definition: str = ""
    content: str = ""
    state: str = ""
    reason: str = ""
    milliseconds: int = 0
    base: int = -1
    sources: tuple[int, ...] = ()
    layer: str = ""
    op: tuple[Any, ...] = ()
    unlike: tuple[tuple[str, str], ...] = ()
    unlike_more: bool = False
    dirty: bool = False


class BuildRecord(Record):
    """One build. `file` and `context` are absolute paths ("-": standard input, "": from elsewhere), `targets` names
    with the position of their step (-1: an empty filesystem); `started` is in seconds since 1970, `state` done, failed
    or interrupted.
    """

    id: str
    file: str
    context: str
    targets: tuple[tuple[str, int], ...]
    started: float
    seconds: float
    state: str
    tool: str
    steps: tuple[StepSeen, ...]

    @property
    def visible(self) -> tuple[StepSeen, ...]:
        """The steps that a person is shown: a context is looked at, but is no step of its own."""
        return tuple(step for step in self.steps if step.id)

    @property
    def dirty(self) -> bool:
        """Whether some of its results came of a repair by hand."""
        return any(step.dirty for step in self.steps)

    @property
    def ran(self) -> int:
        """How many of the `visible` steps ran, whatever came of them."""
        return sum(step.state in ("DONE", "FAILED") for step in self.visible)


def dump(record: BuildRecord) -> bytes:
    """The bytes of the file."""
    *head, steps = record.values()
    return seal((_FORMAT, *head, tuple([step.values() for step in steps])))


def load(data: bytes) -> BuildRecord | None:
    """The record in a file's bytes; None where another version wrote them, or they are damaged."""
    try:
        version, *head, steps = unseal(data)
        fields = dict(zip(BuildRecord.__fields__, (*head, tuple([StepSeen(*step) for step in steps])), strict=True))
        return BuildRecord(**fields) if version == _FORMAT else None
    except (TypeError, ValueError):
        return None
