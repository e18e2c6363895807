"""Small files, written in batches: by this process, and by a second one if there are many.

Creating a file keeps a processor busy, in Python and in the kernel; two
threads of one interpreter would mostly wait for each other. A batch is all of
one directory, which travels as an open descriptor, and its paths are new:
nothing in it depends on another batch.
"""

from __future__ import annotations

import marshal
import os

from buildkit_py.image.second import SIZE, Lost, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from buildkit_py.image.second import Second

    # name, mode, uid, gid, mtime in nanoseconds, bytes
    SmallFile: TypeAlias = tuple[str, int, int, int, int, bytes | memoryview]

# A batch is handed over with so many files, or bytes in them: it fits in a slot then.
MOST_FILES, MOST_BYTES = 128, 1 << 20
_TASK = "buildkit_py.image.small_files:write_slot"
# Files before a second process is started: it takes 20 ms to be up.
_ALONE = 500
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_batch(fd: int, batch: list[SmallFile], me: tuple[int, int], umask: int) -> list[int]:
    """Create the files in the directory open as `fd`; the places of those whose owner this process may not give them.

    `me` is who creates (uid, gid). Raises `OSError`.
    """
    refused: list[int] = []
    needs_chmod = umask | 0o7000
    create, write, utime, close = os.open, os.write, os.utime, os.close
    my_uid, my_gid = me
    place = -1
    for name, mode, uid, gid, mtime, data in batch:
        place += 1
        file = create(name, _CREATE, mode & 0o777, dir_fd=fd)
        try:
            if data:
                done = write(file, data)
                while done < len(data):
                    done += write(file, memoryview(data)[done:])
            if uid != my_uid or gid != my_gid:
                try:
                    os.fchown(file, uid, gid)
                except OSError:
                    refused.append(place)
                os.fchmod(file, mode)  # after chown, which takes set-id bits away
            elif mode & needs_chmod:
                os.fchmod(file, mode)
            utime(file, ns=(mtime, mtime))
        finally:
            close(file)
    return refused


def write_slot(view: memoryview, length: int, directory: int) -> int:
    """`write_batch`, as the task of a second process.

    A slot has the marshalled arguments with sizes in place of the bytes, and behind them the bytes of all files;
    then what `write_batch` gives, or the errno and name that it raises.
    """
    rows, sizes, me, umask = marshal.loads(view[:length])
    batch: list[SmallFile] = []
    at = length
    for row, size in zip(rows, sizes, strict=True):
        batch.append((*row, view[at : at + size]))
        at += size
    answer: list[int] | tuple[int, str]
    try:
        answer = write_batch(directory, batch, me, umask)
    except OSError as problem:
        answer = problem.errno or 0, str(problem.filename or "")
    data = marshal.dumps(answer, 4)
    view[: len(data)] = data
    return len(data)


class SmallFiles:
    """Takes batches, and writes each in this process or another."""

    def __init__(self, me: tuple[int, int], umask: int) -> None:
        self._me = me
        self._umask = umask
        self._count = 0
        self._refused: list[SmallFile] = []
        self._second: Second | None = None
        self._started = False
        self._given: dict[int, tuple[int, list[SmallFile]]] = {}  # by slot: the directory and what is written there

    def add(self, fd: int, batch: list[SmallFile]) -> None:
        """Write a batch now or soon. `fd` may be closed after this. Raises `OSError`, also of an earlier batch."""
        self._count += len(batch)
        if self._count > _ALONE and not self._started:
            self._started = True
            self._second = start()
        if not self._give(fd, batch):
            self._write(fd, batch)

    def _give(self, fd: int, batch: list[SmallFile]) -> bool:
        """Hand a batch to the second process, if that is there and has room."""
        second = self._second
        if second is None:
            return False
        try:
            if not second.is_up():
                return False
            while self._given and second.has_answer():
                self._take(second)
            if not second.free:
                return False
            contents = [item[5] for item in batch]
            rows = [item[:5] for item in batch]
            head = marshal.dumps((rows, list(map(len, contents)), self._me, self._umask), 4)
            data = b"".join(contents)
            begin, end = len(head), len(head) + len(data)
            if end > SIZE:
                return False
            slot = second.free.pop()
            view = second.slot(slot)
            view[:begin] = head
            view[begin:end] = data
            second.give(_TASK, slot, begin, fd)
        except Lost:
            self._lose()
            return False
        self._given[slot] = os.dup(fd), batch
        return True

    def _write(self, fd: int, batch: list[SmallFile]) -> None:
        self._refused += [batch[place] for place in write_batch(fd, batch, self._me, self._umask)]

    def _take(self, second: Second) -> None:
        """Hear what became of the oldest batch that was given away."""
        slot, length = second.take()
        fd, batch = self._given.pop(slot)
        os.close(fd)
        answer = marshal.loads(second.slot(slot)[:length])
        second.free.append(slot)
        if isinstance(answer, tuple):
            number, name = answer
            raise OSError(number, os.strerror(number), name)
        self._refused += [batch[place] for place in answer]

    def _lose(self) -> None:
        """The second process is gone: write what it had, over what there is of it already."""
        if self._second is not None:
            self._second.close()
            self._second = None
        given, self._given = self._given, {}
        for fd, batch in given.values():
            try:
                for name, *_ in batch:
                    try:
                        os.unlink(name, dir_fd=fd)
                    except FileNotFoundError:
                        pass
                self._write(fd, batch)
            finally:
                os.close(fd)

    def wait(self) -> list[SmallFile]:
        """Wait until every batch is written; the files whose owner was refused since the last time.

        Raises `OSError` of any batch.
        """
        while self._given and self._second is not None:
            try:
                self._take(self._second)
            except Lost:
                self._lose()
        refused, self._refused = self._refused, []
        return refused

    def close(self) -> None:
        """End the second process, whatever it is at."""
        if self._second is not None:
            self._second.close()
            self._second = None
        for fd, _ in self._given.values():
            os.close(fd)
        self._given.clear()
