"""Work: what is in progress, each piece in a private directory under `work/` until it is renamed into place.

A directory under `work/` is held by an flock on the directory itself. It is
made and locked while `work/` is locked shared, and the dead are told from the
living while `work/` is locked exclusively: so a directory that is found
unlocked then has no owner any more. Small files of a process share one such
directory, its scratch.
"""

from __future__ import annotations

import _thread
import atexit
import fcntl
import os

from buildkit_py.errors import StoreError
from buildkit_py.store.faults import store_error
from buildkit_py.store.remove import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_AGAIN = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class WorkDir:
    """A private, empty directory on the store's filesystem; leaving the `with` block discards it.

    `path` may be filled and its parts (or all of it) moved elsewhere.
    """

    def __init__(self, work: Work, path: str, fd: int) -> None:
        self.path = path
        self._work = work
        self._fd = fd
        self._kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if not self._kept:
            self.discard()

    def keep(self) -> None:
        """Leave it in place at the end of the `with` block; it then lives as long as this process."""
        self._kept = True

    def discard(self) -> None:
        """Remove it with all it holds. Raises `StoreError` if something in it cannot be removed."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            self._work.remove(self.path)
            self._work.forget(self.path)
        finally:
            os.close(fd)


class Work:
    """The `work/` directory of a store, as one process uses it. Safe to share among threads."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.dir = root + "/work"
        self.sets_aside = True  # False for a view that only looks
        self._scratch = ""
        self._mine: set[str] = set()  # what this process made and has not removed
        self._mutex = _thread.allocate_lock()

    def new(self, label: str) -> WorkDir:
        """A new directory whose name begins with the label. Raises `StoreError`."""
        path, fd = self._make(label)
        return WorkDir(self, path, fd)

    def temporary(self) -> tuple[int, str]:
        """A new empty file in the scratch, as (descriptor, path). Raises `StoreError`."""
        path = self.scratch_name()
        try:
            return os.open(path, _NEW, 0o600), path
        except OSError as problem:
            raise store_error(problem, self.root, "write to the store") from problem

    def scratch_name(self) -> str:
        """An unused path in the scratch. Raises `StoreError` if there can be no scratch."""
        if not self._scratch:
            with self._mutex:
                if not self._scratch:
                    self._scratch, _ = self._make("scratch")  # the descriptor holds it for as long as we live
        return f"{self._scratch}/{os.urandom(8).hex()}"

    def write(self, dest: str, *pieces: bytes) -> None:
        """Put a small file, given in pieces, in place whole: written aside, then renamed. Raises `StoreError`."""
        fd, path = self.temporary()
        self._put(fd, path, pieces, lambda: self.install(path, dest))

    def write_beside(self, dest: str, data: bytes) -> None:
        """Put a small file in place whole that only this process writes, by way of one beside it. Raises `StoreError`.

        For one that stays: whoever opens the store looks after each scratch, and this takes none.
        """
        path = dest + ".new"
        try:
            fd = os.open(path, _AGAIN, 0o600)
        except OSError as problem:
            raise store_error(problem, self.root, "write to the store") from problem
        self._put(fd, path, (data,), lambda: os.rename(path, dest))

    def _put(self, fd: int, path: str, pieces: Iterable[bytes], place: Callable[[], None]) -> None:
        """Write a new file, which is at `path`, and have it put in its place; or nothing is left of it."""
        try:
            try:
                for data in pieces:
                    write_all(fd, data)
            finally:
                os.close(fd)
            place()
        except OSError as problem:
            _forget(path)
            raise store_error(problem, self.root, "write to the store") from problem
        except BaseException:
            _forget(path)
            raise

    def install(self, path: str, dest: str) -> None:
        """Rename a finished file to its place, over an older one; makes the directory it goes into.

        A directory where a file belongs is damage, and is moved to the quarantine. Raises `OSError`.
        """
        for _ in range(10):
            try:
                os.rename(path, dest)
                return
            except FileNotFoundError:
                if not os.path.lexists(path):
                    raise
                make_dir(os.path.dirname(dest))
            except IsADirectoryError:
                self.quarantine(dest)
        os.rename(path, dest)

    def aside(self, path: str) -> str:
        """Take something out of its place at once; where it is now, or "" if nothing was there. Raises `StoreError`."""
        moved = self.scratch_name()
        try:
            os.rename(path, moved)
        except FileNotFoundError:
            return ""
        except OSError as problem:
            raise store_error(problem, self.root, "remove from the store") from problem
        return moved

    def remove(self, path: str) -> bool:
        """Take something out of its place at once, then delete it; False if nothing was there. Raises `StoreError`."""
        moved = self.aside(path)
        if not moved:
            return False
        try:
            remove_tree(moved)
        except OSError as problem:
            raise store_error(problem, self.root, "remove from the store") from problem
        return True

    def quarantine(self, path: str) -> bool:
        """Move something damaged to `quarantine/`, out of every reader's way; False if it is gone already."""
        if not self.sets_aside:
            return False
        kept = f"{self.root}/quarantine/{os.path.basename(path)[:100]}-{os.urandom(4).hex()}"
        for _ in (1, 2):
            try:
                os.rename(path, kept)
                return True
            except FileNotFoundError:
                if not os.path.lexists(path):
                    return False
                make_dir(self.root + "/quarantine")
            except OSError as problem:
                raise store_error(problem, self.root, "set damaged data aside") from problem
        return False

    def sweep(self, measure: Callable[[str], int] | None = None) -> tuple[int, int]:
        """Remove what processes left behind that are gone: (how many pieces, the sum of what `measure` says of them).

        Leftovers that this process may not remove (made in a user namespace it is not in) stay.
        """
        count = size = 0
        for name, fd in self._claim_dead():
            path = f"{self.dir}/{name}"
            try:
                bytes_ = measure(path) if measure is not None else 0
                if self.remove(path):
                    count += 1
                    size += bytes_
            except StoreError:
                pass
            finally:
                os.close(fd)
        return count, size

    def _claim_dead(self) -> list[tuple[str, int]]:
        """Names under `work/` whose owners are gone, with a descriptor that now holds each."""
        dead: list[tuple[str, int]] = []
        try:
            work = os.open(self.dir, _DIR)
        except OSError as problem:
            raise store_error(problem, self.root, "read the store") from problem
        try:
            fcntl.flock(work, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in os.listdir(work):
                fd = -1
                try:
                    fd = os.open(name, _DIR, dir_fd=work)
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    dead.append((name, fd))
                except OSError:
                    if fd >= 0:
                        os.close(fd)  # held, so alive
        except BlockingIOError:
            pass  # someone makes or looks for work right now; the next one to open the store sweeps
        except OSError as problem:
            raise store_error(problem, self.root, "read the store") from problem
        finally:
            os.close(work)
        return dead

    def _make(self, label: str) -> tuple[str, int]:
        name = "".join([c if c in _PLAIN else "_" for c in label[:40]]) + "-" + os.urandom(6).hex()
        path = f"{self.dir}/{name}"
        try:
            work = os.open(self.dir, _DIR)
            try:
                fcntl.flock(work, fcntl.LOCK_SH)
                os.mkdir(path, 0o700)
                fd = os.open(path, _DIR)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            finally:
                os.close(work)
        except OSError as problem:
            raise store_error(problem, self.root, "make a directory in the store") from problem
        if not self._mine:
            atexit.register(self._leave, os.getpid())
        self._mine.add(path)
        return path, fd

    def forget(self, path: str) -> None:
        """Note that a directory from `new` is gone."""
        self._mine.discard(path)

    def _leave(self, pid: int) -> None:
        """Remove what is left when the process ends: the scratch, and what an interrupt tore from its thread.

        A forked child leaves it to its parent.
        """
        if os.getpid() != pid:
            return
        for path in (*self._mine, *self._mine):  # twice: an interrupted thread may be moving one into the scratch
            try:
                for name in os.listdir(path):
                    remove_tree(f"{path}/{name}")
                os.rmdir(path)
            except OSError:
                pass  # gone, or still written to: then the next process to open the store sweeps it


def write_all(fd: int, data: bytes | memoryview) -> None:
    """All of the data, however little one write(2) takes."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(fd, view) :]


def make_root(path: str) -> None:
    """A new directory that becomes the root of a filesystem: all users of that look into it, whatever our umask is."""
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)


def make_dir(path: str) -> None:
    """A private directory that may exist already."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # in the scratch it is no one's, and goes with it
