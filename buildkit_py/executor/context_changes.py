"""What changed of a context since a build looked at it, as far as the build's steps take it.

A scan proves that nothing changed (`store/scan.py`); this says what did. So
the times of a directory say nothing here, for whatever comes or goes in it
changes them: names that the ignore rules let through do, and files.
"""

from __future__ import annotations

import os
from contextlib import suppress

from buildkit_py.errors import ContextError
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.store.scan import STAMP_SIZE, Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit_py.executor.contexts import SeenContext
    from buildkit_py.store.scan import Listing


def look_again(seen: SeenContext) -> SeenContext:
    """A context as it is now, where a build looked."""
    before = Scan.load(seen.scan)
    assert before is not None, "it was dumped by this program"
    tree = ContextTree(seen.named, seen.ignore, own=seen.own)
    for path in before.listings:
        with suppress(ContextError):  # what cannot be read is missing in the new scan
            tree.names(path)
    for path in before.probes:
        with suppress(ContextError):
            tree.lookup(path, follow=False)
    return seen.replace(scan=tree.scan.dump())


def changed(before: SeenContext, now: SeenContext, written: Sequence[str] = ()) -> Iterator[str]:
    """The absolute paths that differ between two looks at the same places of a context.

    What was too fresh to be believed when a build looked at it (`scan.racy`) differs: it may have changed since.
    Files that are there in both and that no step takes do not count, nor what is at or below the `written` paths.
    """
    old, new = Scan.load(before.scan), Scan.load(now.scan)
    assert old is not None, "it was dumped by this program"
    assert new is not None, "it was dumped by this program"
    taken = frozenset(before.taken)
    root = old.root
    for path in _differing(old, new, taken):
        full = f"{root}/{path}" if path else root
        if not any(full == one or full.startswith(f"{one}/") for one in written):
            yield full


def _differing(old: Scan, new: Scan, taken: frozenset[str]) -> Iterator[str]:
    for path, listing in old.listings.items():
        other = new.listings.get(path)
        if other is None or other[1] != listing[1]:  # it is gone, or has another mode
            yield path
            continue
        mine, theirs = _children(listing), _children(other)
        for name in sorted(mine.keys() | theirs.keys()):
            child = f"{path}/{name}" if path else name
            a, b = mine.get(name), theirs.get(name)
            if a == b:
                continue
            if a is not None and b is not None and (_same_directory(old.root, child, a, b) or not _is_of(child, taken)):
                continue
            yield child
    for path, stamp in old.probes.items():
        after = new.probes.get(path)
        if stamp != after and not (_inode(stamp) == _inode(after) and _is_directory(old.root, path)):
            yield path


def _children(listing: Listing) -> dict[str, bytes]:
    _, _, names, stamps = listing
    return {name: stamps[at * STAMP_SIZE : (at + 1) * STAMP_SIZE] for at, name in enumerate(names)}


def _same_directory(root: str, path: str, before: bytes, now: bytes) -> bool:
    # Of a stamp the third number is the inode's.
    return before[16:24] == now[16:24] and _is_directory(root, path)


def _is_directory(root: str, path: str) -> bool:
    full = f"{root}/{path}"
    return os.path.isdir(full) and not os.path.islink(full)


def _inode(stamp: tuple[int, int, int, int] | None) -> int:
    return stamp[2] if stamp is not None else -1


def _is_of(path: str, taken: frozenset[str]) -> bool:
    """Whether a path is, or is below, one that a step takes; yes where nobody knows what steps take."""
    if not taken or "" in taken:
        return True
    while path:
        if path in taken:
            return True
        path = path.rpartition("/")[0]
    return False
