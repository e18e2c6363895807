"""Leases: how prune knows what the living use, without a list that a killed process could leave behind.

A build holds a locked file under `inuse/` for its life, made when it began,
and renews the modification time of every thing it uses. Prune keeps whatever
is newer than the beginning of the oldest build alive. All times are read from
files, so they come from one clock: the filesystem's.

A thing is never renewed between the moment when prune sees its age and the one
when it moves it away: a flock(2) of `inuse/` itself, shared by those that
renew, says so. Without it a build could see a thing, miss it, and see it again.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import time

from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_HOUR = 3_600_000_000_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Hold:
    """A promise of the store that prune leaves alone what is used from now on; a context manager."""

    def __init__(self, leases: Leases, lock: Lock) -> None:
        self.start = 0  # when it began, by the clock of the filesystem
        self._leases = leases
        self._lock = lock
        self._process = os.getpid()
        # A signal may come before whoever asked for it has a `with` around it.
        atexit.register(self._at_exit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """End the promise; a second time does nothing."""
        self._leases.forget(self)
        self._lock.release()
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        if os.getpid() == self._process:  # and no child that was forked from it
            self._lock.release()


class Unrenewed:
    """A context manager in which no age changes."""

    def __init__(self, dir: str) -> None:
        self._dir = dir

    def __enter__(self) -> None:
        self._guard = os.open(self._dir, _DIRECTORY)
        try:
            fcntl.flock(self._guard, fcntl.LOCK_EX)
        except OSError:
            os.close(self._guard)
            raise

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._guard)


class Leases:
    """The `inuse/` directory, and what this process has renewed."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.dir = root + "/inuse"
        self.renews = True  # False for a view that only looks
        self._holds: list[Hold] = []
        self._renewed: set[str] = set()

    def hold(self) -> Hold:
        """Begin to hold what is used. Raises `StoreError`."""
        lock = Lock(f"{self.dir}/{os.getpid()}-{os.urandom(4).hex()}")
        hold = Hold(self, lock)
        lock.acquire()
        try:
            hold.start = os.fstat(lock.fd).st_mtime_ns
        except OSError as problem:
            hold.release()
            raise store_error(problem, self.root, "begin to use the store") from problem
        self._holds.append(hold)
        self._renewed = set()  # what an earlier hold renewed is too old for this one
        return hold

    def forget(self, hold: Hold) -> None:
        if hold in self._holds:
            self._holds.remove(hold)

    def renew(self, path: str) -> None:
        """Note that the thing whose age is that of `path` is used: at most once for each hold, or once an hour."""
        if path in self._renewed or not self.renews:
            return
        try:
            # Of what is not there yet, as of most that a build looks for, nothing need be held: it will be new.
            age = time.time_ns() - os.lstat(path).st_mtime_ns
            if not self._holds and age < _HOUR:
                return
            guard = os.open(self.dir, _DIRECTORY)
            try:
                fcntl.flock(guard, fcntl.LOCK_SH)
                os.utime(path, follow_symlinks=False)
            finally:
                os.close(guard)
        except OSError:
            return  # gone, or not ours to write: whoever reads it next says so
        self._renewed.add(path)

    def unrenewed(self) -> Unrenewed:
        """While it is entered nobody renews anything; for as long as a look and a rename take."""
        return Unrenewed(self.dir)

    def oldest(self, now: int) -> int:
        """When the oldest living holder began (nanoseconds), or `now`; 0 if a clock ran backwards since.

        Files of dead holders are removed.
        """
        try:
            names = os.listdir(self.dir)
        except FileNotFoundError:
            return now
        except OSError as problem:
            raise store_error(problem, self.root, "read the store") from problem
        began = now
        for name in names:
            path = f"{self.dir}/{name}"
            try:
                start = os.lstat(path).st_mtime_ns
            except FileNotFoundError:
                continue
            lock = Lock(path)
            if lock.acquire(wait=False):
                lock.release()
            elif start > now:
                return 0
            else:
                began = min(began, start)
        return began
