"""Batches on their way into a sink: made by this process and a second one, put in the order of their entries.

Whichever process is free makes the next batch. What comes out does not
depend on that, nor on whether there is a second process at all.
"""

from __future__ import annotations

import errno
import marshal
import os
from _collections import deque  # type: ignore[import-not-found]
from _struct import pack

from buildkit_py.errors import ContextError
from buildkit_py.image.batch import FULL, MOST, Batch, Refused, fill, made_in
from buildkit_py.image.directories import Directories
from buildkit_py.image.entry import FILE
from buildkit_py.image.second import SIZE, Lost, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from buildkit_py.image.batch import Made
    from buildkit_py.image.content import ContentDigest
    from buildkit_py.image.entry import Entry
    from buildkit_py.image.second import Second
    from buildkit_py.image.tar_sink import TarSink

_TASK = "buildkit_py.image.batch:fill_slot"
# A second process is up after 20 ms, in which this one makes so many small files.
_WORTH = 3_000
# What the second process has before it, and how many batches may be made before one that is not.
_AHEAD, _WAITING = 3, 6


class Batches:
    """Collects entries and puts what they come to into `sink`. Use as a context manager, and `settle` at the end.

    `content`, `digests` and `ends` are filled as `pack` says; `small` is about how many small files will come.
    """

    def __init__(
        self,
        sink: TarSink,
        content: ContentDigest | None,
        epoch: int | None,
        digests: bytearray | None,
        ends: bytearray | None,
        small: int,
    ) -> None:
        self._sink = sink
        self._content = content
        self._epoch = epoch
        self._digests = digests
        self._ends = ends
        self._batch = Batch()
        self._buffer = bytearray()
        # In their order: batches that are made, and such as lie in a slot of the second process.
        self._waiting: deque[tuple[Batch, tuple[bytes, Made] | int]] = deque()
        self.directories = Directories("/")
        self._second: Second | None = start() if small >= _WORTH else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.directories.close()
        if self._second is not None:
            self._second.close()

    def file(self, entry: Entry) -> bool:
        """Take a FILE, if it is small and ordinary. Raises what the files of other batches may raise."""
        batch = self._batch
        if not batch.file(entry):
            return False
        if batch.room >= FULL:
            self._close()
        return True

    def other(self, entry: Entry, tar: bytes, content: bytes) -> None:
        """Take an entry with its bytes of the tar and of the content digest."""
        self._batch.other(entry, tar, content)
        if self._batch.room >= FULL:
            self._close()

    def settle(self) -> None:
        """Have all that was taken in the sink. Raises `ContextError`."""
        self._close()
        while self._waiting:
            self._put()

    def _close(self) -> None:
        batch, self._batch = self._batch, Batch()
        if batch.entries:
            if not self._give(batch):
                self._waiting.append((batch, self._make(batch)))
            while self._waiting and self._is_made():
                self._put()

    def _give(self, batch: Batch) -> bool:
        """Hand a batch to the second process, if that is there and has little to do."""
        second = self._second
        if second is None:
            return False
        try:
            while len(self._waiting) >= _WAITING:
                self._put()
            if not second.is_up() or not second.free or self._given() >= _AHEAD:
                return False
            data = marshal.dumps(batch.job(self._hashed(batch), self._epoch), 4)
            if len(data) > SIZE:
                return False
            slot = second.free.pop()
            second.slot(slot)[: len(data)] = data
            second.give(_TASK, slot, len(data))
        except Lost:
            self._lose()
            return False
        self._waiting.append((batch, slot))
        return True

    def _lose(self) -> None:
        """The second process is gone: make here what it had."""
        second, self._second = self._second, None
        if second is not None:
            second.close()
        for _ in range(len(self._waiting)):
            batch, made = self._waiting.popleft()
            self._waiting.append((batch, self._make(batch) if isinstance(made, int) else made))

    def _given(self) -> int:
        return sum([isinstance(made, int) for _, made in self._waiting])

    def _is_made(self) -> bool:
        """Whether the first batch can be put without waiting."""
        return not isinstance(self._waiting[0][1], int) or (self._second is not None and self._second.has_answer())

    def _hashed(self, batch: Batch) -> bool:
        return self._content is not None or self._digests is not None or batch.known

    def _make(self, batch: Batch) -> tuple[bytes, Made]:
        """Make a batch in this process."""
        if len(self._buffer) < batch.room:
            self._buffer = bytearray(MOST if batch.room >= FULL else batch.room)
        view = memoryview(self._buffer)
        try:
            made = fill(view, batch.job(self._hashed(batch), self._epoch), self.directories)
        except Refused as refused:
            raise _problem(batch, refused) from refused
        return bytes(view[: made[0]]), made

    def _taken(self, batch: Batch, slot: int) -> tuple[bytes, Made]:
        """Wait for a batch that the second process makes."""
        second = self._second
        if second is None:
            return self._make(batch)
        number, length = second.take()
        if number != slot:
            raise Lost
        view = second.slot(slot)[:length]
        try:
            made = made_in(view)
        except Refused as refused:
            raise _problem(batch, refused) from refused
        piece = bytes(view[: made[0]])
        second.free.append(slot)
        return piece, made

    def _put(self) -> None:
        """Put the first of the waiting batches, made or not yet."""
        batch, done = self._waiting[0]
        if isinstance(done, int):
            try:
                done = self._taken(batch, done)
            except Lost:
                self._lose()
                return
        self._waiting.popleft()
        piece, (_, content, digests, ends) = done
        if batch.known:
            _compare(batch, digests)
        begin = self._sink.position()
        self._sink.put(piece)
        if self._content is not None:
            self._content.put(content)
        if self._digests is not None:
            self._digests += digests
        if self._ends is not None:
            self._ends += offsets([begin + end for end in ends])


def offsets(numbers: list[int]) -> bytes:
    """Eight bytes for each, in this machine's order. Not an `array`, which loads `collections`."""
    return pack(f"{len(numbers)}Q", *numbers)


def _compare(batch: Batch, digests: bytes) -> None:
    """Hold the files of a batch against what was known of them. Raises `ContextError`."""
    at = 0
    for entry in batch.entries:
        if entry[1] == FILE:
            if entry[13] is not None and entry[13] != digests[at : at + 32]:
                raise changed(entry)
            at += 32


def _problem(batch: Batch, refused: Refused) -> ContextError:
    entry = batch.entries[refused.number]
    if not refused.errno:
        return changed(entry)
    return unreadable(entry, OSError(refused.errno, os.strerror(refused.errno)))


def changed(entry: Entry) -> ContextError:
    """The error for a file that is not what its entry says any more."""
    return ContextError(
        f"{entry.path} changed while it was being read", at=entry.source, hint="run the build again when it is at rest"
    )


def unreadable(entry: Entry, problem: OSError) -> ContextError:
    """The error for a file that the system does not let read."""
    if problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN, errno.ENXIO):
        return changed(entry)
    return ContextError(f"{entry.path} cannot be read ({problem.strerror})", at=entry.source)
