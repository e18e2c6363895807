"""Keeping the store small while builds fill it: a process of its own looks, and lets go what is too much.

To look means to walk the whole store, so it is not done for each step, but
when a twentieth of what the store may take was added, or ten minutes went by.
"""

from __future__ import annotations

import os
import time

from buildkit_py.errors import PybuildError
from buildkit_py.store.background import begin
from buildkit_py.store.faults import store_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.store import Store

_EVERY = 600.0
_SHARE = 20
_PROGRAM = "import os; os.nice(19); from buildkit_py.api.cache import evict_beside; "
_PROGRAM += "evict_beside(int(sys.argv[2]), sys.argv[1])"


class KeepSmall:
    """What one process adds to a store. `limit` is in bytes, 0 for the usual one."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._grown = 0
        self._begun = False
        self._mark = store.path("memo", "measured")

    def grew(self, count: int) -> None:
        """So many bytes were added; room is made in the background if it is time."""
        self._grown += count
        if self._is_time():
            self._begin()

    def end(self) -> None:
        """Nothing of the store is held any more: now what this process added may go as well."""
        if self._begun or (self._grown and self._is_time()):
            self._begin()

    def _is_time(self) -> bool:
        try:
            measured = os.stat(self._mark).st_mtime  # before the clock: another thread may write it just now
            age = time.time() - measured
        except OSError:
            self._note_time()  # a store that was just made holds nothing
            age = 0.0
        if not 0 <= age < _EVERY:
            return True
        return self._grown * _SHARE >= limit_for(self._store.root, self._limit)

    def _begin(self) -> None:
        self._grown = 0
        self._begun = True
        self._note_time()
        begin(_PROGRAM, self._store.root, str(limit_for(self._store.root, self._limit)))

    def _note_time(self) -> None:
        try:
            self._store.work.write(self._mark, b"")
        except PybuildError:
            pass  # a full disk: the next build looks again, and to make room matters all the more


def limit_for(root: str, wanted: int) -> int:
    """The bytes that a store may take: those wanted, or where nothing is (0) a tenth of its disk, at most 50 GB.

    Raises `StoreError` where there is no store any more.
    """
    if wanted:
        return wanted
    try:
        status = os.statvfs(root)
    except OSError as problem:
        raise store_error(problem, root, "look how large the disk is") from problem
    return min(status.f_blocks * status.f_frsize // 10, 50_000_000_000)
