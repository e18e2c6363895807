"""Failed states: the files as steps left them that failed, kept for a look at them until newer ones come.

    failed/ID/upper/    what the step wrote, in overlay form
    failed/ID/meta      sealed: the name of the state, which stands for the step and all that lies below it
    failed/ID/lock      held, shared, by whoever looks into it

They are no results: no record and no snapshot knows them, and they are the
first to go when there is need of room.
"""

from __future__ import annotations

import os
import time

from buildkit_py.errors import StoreError
from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import InUse, Lock
from buildkit_py.store.sealed import read_regular, seal, unseal
from buildkit_py.store.work import make_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.work import Work

# So many are kept: a person looks into what failed just now, and a build with --keep-going may fail in some steps.
KEPT = 5
_PLAIN = frozenset("0123456789abcdef-")


class FailedStates:
    """`failed/` of a store. Methods raise `StoreError`."""

    def __init__(self, work: Work) -> None:
        self.dir = work.root + "/failed"
        self._work = work

    def keep(self, name: str, upper: str) -> None:
        """Take over a finished directory of this filesystem under a name, in place of an older one of that name.

        Older ones go, so that no more than `KEPT` are there; those that are looked at stay meanwhile.
        """
        staged = self._work.scratch_name()
        id = f"{time.time_ns():020d}-{os.urandom(4).hex()}"
        try:
            os.mkdir(staged, 0o700)
            os.rename(upper, staged + "/upper")
            self._work.write(staged + "/meta", seal(name))
            make_dir(self.dir)
            os.rename(staged, self.path(id))
        except OSError as problem:
            raise store_error(problem, self._work.root, "keep what a failed step left") from problem
        others = [other for other in self.all() if other != id]
        for position, other in enumerate(others):
            if position >= KEPT - 1 or self.name(other) == name:
                self.delete(other)

    def open(self, name: str) -> InUse | None:
        """The directory of the newest state of that name, not to be written to; None where there is none."""
        for id in self.all():
            if self.name(id) != name:
                continue
            lock = Lock(self.path(id) + "/lock", shared=True, keep=True)
            try:
                taken = lock.acquire(wait=False)
            except StoreError:
                continue  # removed since
            upper = os.path.realpath(self.path(id) + "/upper")
            if taken and os.path.isdir(upper):
                return InUse(upper, lock)
            lock.release()
        return None

    def path(self, id: str) -> str:
        """Where a state is or would be. Raises `ValueError` for an id that is none."""
        if not id or not _PLAIN.issuperset(id):
            raise ValueError(f"not the id of a failed state: {id!r}")
        return f"{self.dir}/{id}"

    def all(self) -> list[str]:
        """The ids of all, newest first."""
        try:
            return sorted((name for name in os.listdir(self.dir) if _PLAIN.issuperset(name)), reverse=True)
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise store_error(problem, self._work.root, "list what failed steps left") from problem

    def name(self, id: str) -> str:
        """Under which name a state was kept; "" where that is lost."""
        try:
            data = read_regular(self.path(id) + "/meta")
            return str(unseal(data)) if data is not None else ""
        except ValueError:
            return ""
        except OSError as problem:
            raise store_error(problem, self._work.root, "read what a failed step left") from problem

    def delete(self, id: str) -> bool:
        """Remove one that nobody looks at; False if it stays, or is gone already."""
        lock = Lock(self.path(id) + "/lock", keep=True)
        try:
            if not lock.acquire(wait=False):
                return False
        except StoreError:
            return False  # gone
        try:
            return self._work.remove(self.path(id))
        finally:
            lock.release()
