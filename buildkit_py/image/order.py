"""The order of a layer's entries: sorted by the bytes of their paths, hard links after what they share.

Two walks of one tree, or a walk and a tar of it, must come out the same,
whatever order they met things in. Sorting settles that for paths; for a file
with several names it takes one more rule: the name that sorts first is the
FILE, and the others are HARDLINKs to it.
"""

from __future__ import annotations

from _operator import eq, itemgetter
from itertools import islice, pairwise

from buildkit_py.image.entry import DIR, HARDLINK, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


_path = itemgetter(0)
_kind = itemgetter(1)


def _path_bytes(entry: Entry) -> bytes:
    return entry.path.encode("utf-8", "surrogateescape")  # type: ignore[no-any-return]


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in their one order. Raises `ValueError` for a path that stands there twice."""
    out = list(entries)
    # Text sorts as its UTF-8 does, but not when surrogates stand for bytes that are no UTF-8.
    if all(map(str.isascii, map(_path, out))):
        out.sort(key=_path)
    else:
        out.sort(key=_path_bytes)
    # Compared in C: this is done several times for each of 50,000 files.
    if True in map(eq, map(_path, out), map(_path, islice(out, 1, None))):
        twice = next(one[0] for one, following in pairwise(out) if one[0] == following[0])
        raise ValueError(f"two entries for the path {twice!r}")
    return _lead_by_first_name(out) if HARDLINK in map(_kind, out) else out


def _lead_by_first_name(entries: list[Entry]) -> list[Entry]:
    """Sorted entries with each hard-linked file led by the name that sorts first.

    A link to something that is not among the entries stays as it is.
    """
    at = {entry.path: index for index, entry in enumerate(entries)}
    groups: dict[int, list[int]] = {}
    for index, entry in enumerate(entries):
        if entry.kind != HARDLINK:
            continue
        target = at.get(entry.target)
        for _ in range(len(entries)):  # a link may name another link
            if target is None or entries[target].kind != HARDLINK:
                break
            target = at.get(entries[target].target)
        if target is None or entries[target].kind in (DIR, HARDLINK):
            continue
        groups.setdefault(target, []).append(index)
    for leader, others in groups.items():
        body = entries[leader]
        first, *rest = sorted([leader, *others])
        lead_path = entries[first].path
        entries[first] = body._replace(path=lead_path)
        for index in rest:
            shown = entries[index].path
            # The attributes are the inode's, so a link has those of its leader.
            entries[index] = body._replace(
                path=shown, kind=HARDLINK, target=lead_path, size=0, source="", data=None, digest=None
            )
    return entries


def sorted_names(names: Iterable[str]) -> list[str]:
    """Names sorted by their bytes."""
    return sorted(names, key=lambda name: name.encode("utf-8", "surrogateescape"))
