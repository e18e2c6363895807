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
        raise StoreError(
            f"the store was made with other user ids ({found}; now: {owners})",
            at=store.root,
            hint="set PYBUILD_HOME to another directory, or empty this one with `pybuild cache prune --all`",
        )
    store.work.write(store.path("owners"), owners.encode("ascii"))
