"""Locks between threads and processes: a file that the kernel holds locked for as long as its holder lives.

flock(2) belongs to the open file description, so each acquisition opens the
file anew: then threads of one process exclude each other as well, and a
killed holder's lock is gone with it. A lock file is removed while it is still
held; whoever gets a lock on a file that is no longer the one of that name
starts over. No lock is ever taken away because of its age.
"""

from __future__ import annotations

import fcntl
import os
import time

from buildkit_py.store.faults import store_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02


class Lock:
    """One acquisition of the lock file `path`; a context manager that waits for it.

    `shared` lets other shared holders in. `keep` leaves the file when the
    lock is released. `waiting`, if given, is called again and again while
    another holds the lock, with the holder's process id (0: unknown); it may
    raise to give up.
    """

    def __init__(
        self,
        path: str,
        *,
        shared: bool = False,
        keep: bool = False,
        waiting: Callable[[int], object] | None = None,
    ) -> None:
        self.path = path
        self.shared = shared
        self.keep = keep
        self.waiting = waiting
        self._fd = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock; False if it is taken and `wait` is not wanted. Raises `StoreError` if the file cannot be."""
        if self._fd >= 0:
            raise RuntimeError("a Lock is held once at a time")
        while True:
            try:
                fd = os.open(self.path, _FLAGS, 0o600)
            except OSError as problem:
                raise store_error(problem, self.path, "open a lock file") from problem
            try:
                if not self._flock(fd, wait):
                    os.close(fd)
                    return False
                if _is_named(fd, self.path):
                    self._fd = fd
                    self._sign()
                    return True
            except OSError as problem:
                os.close(fd)
                raise store_error(problem, self.path, "take a lock") from problem
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def release(self) -> None:
        """Let go; nothing happens if the lock is not held."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            # Only the one holder there is may take the name away: others may hold the same file as shared.
            if not self.shared and not self.keep:
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        finally:
            os.close(fd)

    @property
    def fd(self) -> int:
        """The descriptor that holds the lock, -1 while it is not held."""
        return self._fd

    def _flock(self, fd: int, wait: bool) -> bool:
        how = fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
        pause = _FIRST_PAUSE
        while True:
            try:
                fcntl.flock(fd, how | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if not wait:
                    return False
            if self.waiting is not None:
                self.waiting(_signed_by(fd))
            # Not in flock(2): a signal that comes just before it would go unnoticed for as long as another build runs.
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _sign(self) -> None:
        """Say who holds it, for the message of those who wait; no space for that is no reason to fail."""
        if not self.shared:
            try:
                os.pwrite(self._fd, b"%10d\n" % os.getpid(), 0)
            except OSError:
                pass


class InUse:
    """A directory of the store, `path`, that others leave alone until it is released; a context manager."""

    def __init__(self, path: str, lock: Lock) -> None:
        self.path = path
        self._lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it; a second time does nothing."""
        self._lock.release()


def _signed_by(fd: int) -> int:
    text = os.pread(fd, 11, 0).strip()
    return int(text) if text.isdigit() else 0


def _is_named(fd: int, path: str) -> bool:
    """Whether the open file is still the one under that name."""
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))
