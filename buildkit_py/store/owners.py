"""Owners: for which mapping of user ids the trees of a store were made, the text of the file `owners`.

What a step writes depends on the ids that exist while it runs, and what lies
on the disk then is right under that mapping only: with a single id every file
belongs to its one user, and a user's ids begin where /etc/subuid says today.
So a store is used under one mapping, and under another it is refused rather
than answering with what another build made.
"""

from __future__ import annotations

import os

from buildkit_py.errors import StoreError
from buildkit_py.store.faults import store_error
from buildkit_py.store.sealed import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.store import Store

_LONGEST = 4096  # bytes of the file
# With no user id but one, everything that a step wrote belongs to that.
ONE_ID = "one id"


def bound(store: Store) -> str:
    """The mapping that a store was made under; "" for one that has none yet. Raises `StoreError`."""
    try:
        return (read_regular(store.path("owners"), _LONGEST) or b"").decode("ascii", "replace")
    except ValueError as problem:
        raise StoreError(f"the store's owners cannot be read: {problem}", at=store.path("owners")) from problem
    except OSError as problem:
        raise store_error(problem, store.root, "read the store") from problem


def bind(store: Store, owners: str) -> None:
    """Note the mapping in a store that has none yet, or no layers. Raises `StoreError` if it was made under another."""
    found = bound(store)
    if found == owners:
        return
    try:
        is_empty = not found or not os.listdir(store.path("layers"))
    except OSError as problem:
        raise store_error(problem, store.root, "read the store") from problem
    if not is_empty:
        way_out = "empty this one with `pybuild cache prune --all`"
        if not _covers(owners, found):  # the kernel lets nobody else remove what is in directories of these ids
            way_out = f"give the ids back, or as root: rm -r {store.root}"
        raise StoreError(
            f"the store was made with other user ids ({found}; now: {owners})",
            at=store.root,
            hint=f"set PYBUILD_HOME to another directory, or {way_out}",
        )
    store.work.write(store.path("owners"), owners.encode("ascii"))


def _covers(now: str, before: str) -> bool:
    """Whether all ids that a mapping of ranges has exist in another one; that is so of what is no mapping of ranges."""
    if now == "root":
        return True
    for kind, text in enumerate(before.split(", ")):
        parts = now.split(", ")
        here = _ranges(parts[kind]) if kind < len(parts) else []
        for first, count in _ranges(text):
            if not any(low <= first and first + count <= low + more for low, more in here):
                return False
    return True


def _ranges(text: str) -> list[tuple[int, int]]:
    """The ids outside of a namespace that are mapped into it: the first of each range, and how many."""
    numbers = text.split()
    if not all(number.isdecimal() for number in numbers):
        return []
    return [(int(numbers[at + 1]), int(numbers[at + 2])) for at in range(0, len(numbers) - 2, 3)]
