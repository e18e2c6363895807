"""Aligning: which step of an earlier build is the one that a step of this build was made from by an edit.

Steps have no names of their own that would last: a Buildfile is edited, and
its lines move. Within a stage those with the same text are the same step, in
order; what lies between two such is paired by kind, first with first.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit_py.store.build_record import StepSeen


def align(now: Sequence[StepSeen], then: Sequence[StepSeen]) -> dict[int, int]:
    """For positions in `now`, the position in `then` of the same step; without those that have none."""
    pairs: dict[int, int] = {}
    stages = _by_stage(then)
    for stage, mine in _by_stage(now).items():
        pairs.update(_align_stage(now, mine, then, stages.get(stage, [])))
    return pairs


def _by_stage(steps: Sequence[StepSeen]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for position, step in enumerate(steps):
        found.setdefault(step.stage, []).append(position)
    return found


def _align_stage(
    now: Sequence[StepSeen], mine: list[int], then: Sequence[StepSeen], theirs: list[int]
) -> Iterator[tuple[int, int]]:
    from difflib import SequenceMatcher

    new = [bare_name(now[position].name) for position in mine]
    old = [bare_name(then[position].name) for position in theirs]
    for what, i, j, k, m in SequenceMatcher(None, new, old, autojunk=False).get_opcodes():
        if what == "equal":
            yield from zip(mine[i:j], theirs[k:m], strict=True)
            continue
        left = theirs[k:m]
        for position in mine[i:j]:
            for other in left:
                if then[other].kind == now[position].kind:
                    left = left[left.index(other) + 1 :]
                    yield position, other
                    break


def bare_name(name: str) -> str:
    """A step's name without the `[stage 2/5]` before it, which changes with every line that is added."""
    return name.partition("] ")[2] or name if name.startswith("[") else name
