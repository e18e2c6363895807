"""Cache mounts: directories of `RUN --mount=type=cache` that outlive the steps that fill them.

`mounts/HASH.N/` holds `data/`, the lock file `lock` and `meta` (sealed: the
id, which is any text, so it is never part of a path). N is 0 but for private
mounts of steps that run at the same time.
"""

from __future__ import annotations

import errno
import os

from buildkit_py.digest import key_of
from buildkit_py.errors import StoreError
from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import InUse, Lock
from buildkit_py.store.sealed import read_regular, seal, unseal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildkit_py.store.work import Work


_OCCUPIED = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})


class CacheMounts:
    """`mounts/` of a store. Methods raise `StoreError`."""

    def __init__(self, work: Work) -> None:
        self.dir = work.root + "/mounts"
        self._work = work

    def acquire(
        self,
        id: str,
        sharing: str = "shared",
        waiting: Callable[[int], object] | None = None,
        *,
        begins: tuple[str, ...] = (),
        fill: Callable[[str], object] = os.listdir,
        fresh: bool = False,
    ) -> InUse:
        """The cache mount of that id, made if it is missing.

        `begins` says what it began as and tells those of one id apart; `fill`
        makes a new empty directory of mode 0755 that. `fresh`: what it held is
        dropped, after waiting for those who use it (not for a private one).

        `sharing` "shared": with any number of other steps. "locked": alone,
        after waiting for the others. "private": alone, another directory if
        the first is taken. `waiting` is as for `locks.Lock`. Raises
        `ValueError` for any other sharing.
        """
        if sharing not in ("shared", "locked", "private"):
            raise ValueError(f"not a sharing mode: {sharing!r}")
        name = self.name(id, begins)
        number = 0
        while True:
            home = f"{self.dir}/{name}.{number}"
            if fresh and not self._drop(home, sharing != "private", waiting):
                number += 1
                continue
            lock = self._make(home, id, fill, sharing == "shared", waiting)
            if lock is not None:
                return InUse(home + "/data", lock)
            if fresh:
                continue  # another process was first, and what it leaves there is dropped
            lock = Lock(home + "/lock", shared=sharing == "shared", keep=True, waiting=waiting)
            try:
                taken = lock.acquire(wait=sharing != "private")
            except StoreError as problem:
                if not _is_gone(problem):
                    raise
                continue  # pruned since it was made
            if taken:
                self._renew(home, id)
                return InUse(home + "/data", lock)
            number += 1

    def name(self, id: str, begins: tuple[str, ...] = ()) -> str:
        """What a cache mount is called on any machine: 64 hex digits."""
        return key_of("cache mount", id, *begins)

    def hold(self, name: str) -> InUse | None:
        """The cache mount of that name for reading, with nobody else in it; None where it is not here, or in use."""
        home = f"{self.dir}/{name}.0"
        lock = Lock(home + "/lock", keep=True)
        try:
            if not os.path.isdir(home + "/data") or not lock.acquire(wait=False):
                return None
        except StoreError as problem:
            if not _is_gone(problem):
                raise
            return None
        return InUse(home + "/data", lock)

    def all(self) -> Iterator[tuple[str, str]]:
        """Every cache mount as (id, path of its own directory), in no order; the id is "" where it was lost."""
        try:
            names = os.listdir(self.dir)
        except FileNotFoundError:
            return
        except OSError as problem:
            raise store_error(problem, self._work.root, "list the cache mounts") from problem
        for name in names:
            home = f"{self.dir}/{name}"
            try:
                data = read_regular(home + "/meta")
                id = str(unseal(data)) if data is not None else ""
            except ValueError:
                id = ""
            yield id, home

    def delete(self, home: str, unless_newer: int) -> bool:
        """Remove a cache mount (a path as `all` gives it) that no one has and that was last used before a time."""
        lock = Lock(home + "/lock", keep=True)
        try:
            if not lock.acquire(wait=False):
                return False
        except StoreError:
            return False  # gone, or another prune is at it
        try:
            if last_used(home) >= unless_newer:
                return False
            return self._work.remove(home)
        finally:
            lock.release()

    def _drop(self, home: str, wait: bool, waiting: Callable[[int], object] | None) -> bool:
        """Remove a cache mount if it is there; False if others have it and are not waited for."""
        if not os.path.isdir(home):
            return True
        lock = Lock(home + "/lock", keep=True, waiting=waiting)
        try:
            if not lock.acquire(wait):
                return False
        except StoreError as problem:
            if not _is_gone(problem):
                raise
            return True  # pruned meanwhile
        try:
            self._work.remove(home)
            return True
        finally:
            lock.release()

    def _make(
        self,
        home: str,
        id: str,
        fill: Callable[[str], object],
        shared: bool,
        waiting: Callable[[int], object] | None,
    ) -> Lock | None:
        """Put a new one in its place; its lock, held since before anybody saw it, or None if one is there already."""
        if os.path.isdir(home + "/data"):
            return None
        staged = self._work.scratch_name()
        lock = Lock(staged + "/lock", shared=shared, keep=True)
        try:
            os.makedirs(staged + "/data", 0o755)
            os.chmod(staged + "/data", 0o755)  # whatever the umask is: steps of any user look into it
            fill(staged + "/data")
            self._work.write(staged + "/meta", seal(id))
            lock.acquire()
            while not _put(staged, home):
                if os.path.isdir(home + "/data"):
                    lock.release()
                    self._work.remove(staged)
                    return None
                self._set_aside(home, waiting)
            return lock
        except BaseException as problem:
            lock.release()
            self._work.remove(staged)
            if isinstance(problem, OSError):
                raise store_error(problem, self._work.root, "make a cache mount") from problem
            raise

    def _set_aside(self, home: str, waiting: Callable[[int], object] | None) -> None:
        """Take what holds no data out of the place of a cache mount; nothing if that is one. Raises `OSError`."""
        if not os.path.isdir(home):
            # By a call that leaves a directory alone, which may be there by now.
            try:
                os.unlink(home)
            except (FileNotFoundError, IsADirectoryError):
                pass
            return
        lock = Lock(home + "/lock", keep=True, waiting=waiting)
        try:
            lock.acquire()
        except StoreError as problem:
            if not _is_gone(problem):
                raise
            return  # pruned meanwhile
        try:
            # Only now: before, another process could have put a new one there, and taken it.
            if not os.path.isdir(home + "/data"):
                self._work.quarantine(home)
        finally:
            lock.release()

    def _renew(self, home: str, id: str) -> None:
        try:
            os.utime(home + "/meta")
        except FileNotFoundError:
            self._work.write(home + "/meta", seal(id))
        except OSError as problem:
            raise store_error(problem, self._work.root, "use a cache mount") from problem


def _put(staged: str, home: str) -> bool:
    """Move a new one to its place; False if something is there. Raises `OSError`."""
    try:
        os.rename(staged, home)
    except OSError as problem:
        if problem.errno in _OCCUPIED:
            return False
        raise
    return True


def _is_gone(problem: StoreError) -> bool:
    """Whether a lock could not be taken because the cache mount was gone; by now another may be there."""
    return isinstance(problem.__cause__, FileNotFoundError)


def last_used(home: str) -> int:
    """When a cache mount was last taken (nanoseconds), 0 if that was lost."""
    try:
        return os.lstat(home + "/meta").st_mtime_ns
    except OSError:
        return 0
