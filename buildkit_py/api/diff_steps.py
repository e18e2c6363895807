"""What is different between two images, step by step: which instructions are new, gone, or made other files."""

from __future__ import annotations

from buildkit_py.image.difference import FileDifference, differences
from buildkit_py.image.union import Union
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit_py.api.opened import OpenedImage
    from buildkit_py.executor.materialize import Materializer
    from buildkit_py.image.entry import Entry


class StepDifference(Record):
    """A step that is otherwise: its instruction in each image ("" in one that lacks it), the bytes of its layer as it
    is pulled (-1 there), and the files that it wrote otherwise. What a step only removed is not told.
    """

    before: str
    after: str
    packed_before: int
    packed_after: int
    files: tuple[FileDifference, ...]


def step_differences(materializer: Materializer, old: OpenedImage, new: OpenedImage) -> tuple[StepDifference, ...]:
    """The steps that differ, in the order of the newer image. Raises what fetching layers raises."""
    before, after = old.steps(), new.steps()
    found = []
    for mine, theirs in _pairs(before, after):
        if mine is not None and theirs is not None and old.layers[mine] == new.layers[theirs]:
            continue
        files = tuple(
            differences(
                _files(materializer, old.layers[mine]) if mine is not None else {},
                _files(materializer, new.layers[theirs]) if theirs is not None else {},
            )
        )
        one = StepDifference(
            before[mine] if mine is not None else "",
            after[theirs] if theirs is not None else "",
            old.packed[mine] if mine is not None else -1,
            new.packed[theirs] if theirs is not None else -1,
            files,
        )
        # A layer may be another one by the times of its files only.
        if files or one.before != one.after:
            found.append(one)
    return tuple(found)


def _files(materializer: Materializer, layer: str) -> dict[str, Entry]:
    """What a layer alone has."""
    return {entry.path: entry for entry in Union(materializer.trees((layer,)).directories).walk("")}


def _pairs(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[int | None, int | None]]:
    """Which step of one is which of the other: those of one text, and what lies between two of them in its order."""
    from difflib import SequenceMatcher
    from itertools import zip_longest

    for _, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        yield from zip_longest(range(i, j), range(k, m))
