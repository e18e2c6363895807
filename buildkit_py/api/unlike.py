"""What two layers of one step have otherwise: the files that keep it from being reproducible."""

from __future__ import annotations

from itertools import islice

from buildkit_py.errors import PybuildError
from buildkit_py.image.difference import differences
from buildkit_py.image.union import Union
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.image.entry import Entry
    from buildkit_py.store.store import Store

# So many files are told: who wants to mend the step sees from these what it is.
MOST = 20
_NOT_KNOWN = (("", "files that are not here any more"),)
_REMOVED = (("", "what it removed"),)


class Unlike(Record):
    """Pairs of a path and how its file was otherwise, in the order of paths, the first `MOST` of them; `more`: there
    are others. A path that is "" stands for no file: its sentence says what else is known.
    """

    files: tuple[tuple[str, str], ...] = ()
    more: bool = False


def unlike_layers(store: Store, before: str, now: str) -> Unlike:
    """How the files of a layer differ from those of another one of the same step."""
    try:
        old, new = store.layers.trees(before), store.layers.trees(now)
    except PybuildError:
        return Unlike(_NOT_KNOWN)
    if not (old and new):
        return Unlike(_NOT_KNOWN)
    found = unlike_trees(old, new)
    # Both are of one step, and what they write over is the same: then only whiteouts are left to be otherwise.
    return found if found.files else Unlike(_REMOVED)


def unlike_trees(before: Sequence[str], now: Sequence[str], time: Callable[[int], int] | None = None) -> Unlike:
    """How the files in two stacks of directories differ, of which each is a layer; `time` as in `differences`."""
    try:
        sides = [{entry.path: entry for entry in _entries(directories)} for directories in (before, now)]
        found = list(islice(differences(sides[0], sides[1], time), MOST + 1))
    except PybuildError:
        return Unlike(_NOT_KNOWN)
    told = [(one.path, ", ".join(one.how) or ("is new" if one.before < 0 else "is missing")) for one in found[:MOST]]
    return Unlike(tuple(told), len(found) > MOST)


def _entries(directories: Sequence[str]) -> list[Entry]:
    return Union(directories).walk("")
