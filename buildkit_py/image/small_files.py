"""Small files, written in batches by two threads: the caller's and one more.

Creating a file costs the kernel more than it costs Python to read its header,
and the kernel does not hold the interpreter's lock. So half the batches go to
a second thread, and the creating of two files overlaps. A batch is all of one
directory, and its paths are new: nothing in it depends on another batch.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # name, mode, uid, gid, mtime in nanoseconds, bytes
    SmallFile: TypeAlias = tuple[str, int, int, int, int, bytes]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Files before a second thread is started, and batches that may wait for it.
_ALONE = 200
_WAITING = 2


def write_batch(fd: int, batch: list[SmallFile], me: tuple[int, int], umask: int) -> list[SmallFile]:
    """Create the files in the directory open as `fd`; those whose owner this process may not give them.

    `me` is who creates (uid, gid). Raises `OSError`.
    """
    refused: list[SmallFile] = []
    needs_chmod = umask | 0o7000
    create, write, utime, close = os.open, os.write, os.utime, os.close
    for item in batch:
        name, mode, uid, gid, mtime, data = item
        file = create(name, _CREATE, mode & 0o777, dir_fd=fd)
        try:
            if data:
                done = write(file, data)
                while done < len(data):
                    done += write(file, memoryview(data)[done:])
            if uid != me[0] or gid != me[1]:
                try:
                    os.fchown(file, uid, gid)
                except OSError:
                    refused.append(item)
                os.fchmod(file, mode)  # after chown, which takes set-id bits away
            elif mode & needs_chmod:
                os.fchmod(file, mode)
            utime(file, ns=(mtime, mtime))
        finally:
            close(file)
    return refused


class SmallFiles:
    """Takes batches, and writes each in this thread or another."""

    def __init__(self, me: tuple[int, int], umask: int) -> None:
        self._me = me
        self._umask = umask
        self._count = 0
        self._problem: BaseException | None = None
        self._refused: list[SmallFile] = []
        self._started = False

    def _start(self) -> None:
        import queue
        import threading

        self._queue: queue.Queue[tuple[int, list[SmallFile]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="small-files", daemon=True)
        self._thread.start()
        self._started = True

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            fd, batch = job
            try:
                if self._problem is None:
                    self._refused += write_batch(fd, batch, self._me, self._umask)
            except BaseException as problem:
                # Raised to the caller by `add` or `wait`.
                self._problem = problem
            finally:
                os.close(fd)
                self._queue.task_done()
        self._queue.task_done()

    def add(self, fd: int, batch: list[SmallFile]) -> None:
        """Write a batch now or soon. `fd` may be closed after this. Raises `OSError`, also of an earlier batch."""
        if self._problem is not None:
            raise self._problem
        self._count += len(batch)
        if self._count > _ALONE:
            if not self._started:
                self._start()
            if self._queue.qsize() < _WAITING:
                self._queue.put((os.dup(fd), batch))
                return
        self._refused += write_batch(fd, batch, self._me, self._umask)

    def wait(self) -> list[SmallFile]:
        """Wait until every batch is written; the files whose owner was refused since the last time.

        Raises `OSError` of any batch.
        """
        if self._started:
            self._queue.join()
        if self._problem is not None:
            raise self._problem
        refused, self._refused = self._refused, []
        return refused

    def close(self) -> None:
        """End the thread."""
        if self._started:
            self._queue.put(None)
            self._thread.join()
            self._started = False
