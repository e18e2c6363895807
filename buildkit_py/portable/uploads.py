"""Uploads: layers' blobs sent to a server in a thread of their own, while later steps of the build run.

Nothing names them before the document does, which comes last: who is
interrupted leaves blobs that nobody asks for. How fast they go is measured,
and what would take longer than its step did is put off to the end, when it is
known what else hangs on it (`worth`).
"""

from __future__ import annotations

import time

from buildkit_py.errors import PybuildError
from buildkit_py.portable import document
from buildkit_py.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from buildkit_py.http.transport import Reader
    from buildkit_py.portable.place import Server, Source
    from buildkit_py.store.layers import LayerBlob

    # The blob of a layer by its id, packed if need be.
    BlobOf: TypeAlias = Callable[[str], LayerBlob]

# Of what is smaller, the way there and back takes longer than the bytes, and says nothing of how fast they go.
SMALL = 1 << 20
# How long a transfer is looked at before it is believed to be slow.
_DOUBT = 5.0
# The main thread does not notice a signal that comes just before it goes to sleep.
_WAKES = 0.1


class Rate:
    """How fast bytes go to a place, from those that went."""

    def __init__(self) -> None:
        self._bytes = 0
        self._seconds = 0.0

    def note(self, size: int, seconds: float) -> None:
        """So many bytes took so long."""
        self._bytes += size
        self._seconds += seconds

    def seconds(self, size: int) -> float:
        """How long a blob takes; 0 for a small one, and where nothing was measured yet."""
        return size * self._seconds / self._bytes if size >= SMALL and self._bytes else 0.0


class Uploads:
    """Those to one place, which `opened` gives. `picky`: what takes longer than its step did is not sent here."""

    def __init__(
        self, opened: Callable[[], Server], blob_of: BlobOf, source: Callable[[str], Source], *, picky: bool
    ) -> None:
        from _queue import SimpleQueue

        self.rate = Rate()
        self.sent = 0
        self._opened = opened
        self._place: Server | None = None
        self._blob_of = blob_of
        self._source = source
        self._picky = picky
        self._queue: SimpleQueue[tuple[str, float] | None] = SimpleQueue()
        self._begun: set[str] = set()
        self._thread: Thread | None = None
        self._over = False
        self._problem: PybuildError | None = None

    @property
    def place(self) -> Server:
        """Where it all goes. To be asked by the thread that sends first: what speaks to a server takes time to load."""
        if self._place is None:
            self._place = self._opened()
        return self._place

    def begin(self, layer: str, seconds: float) -> None:
        """Send a layer's blob if it is not there; its step took so many seconds."""
        if layer in self._begun or self._over:
            return
        self._begun.add(layer)
        self._queue.put((layer, seconds))
        if self._thread is None:
            self._thread = Thread(self._work)

    def end(self) -> None:
        """Wait for what was begun. Raises what the server answered, which each blob tried often enough."""
        if self._thread is not None:
            self._queue.put(None)
            while not self._thread.join(_WAKES):
                pass
            self._thread = None
        self._over = True
        if self._problem is not None:
            raise self._problem

    def stop(self) -> None:
        """Begin nothing more, and let what is on its way break off."""
        self._over = True
        self._queue.put(None)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None and not self._over:
            layer, seconds = task
            try:
                blob = self._blob_of(layer)
            except BaseException:
                continue  # the export asks for it, too, and says what is wrong
            try:
                self._send(layer, blob, seconds)
            except (_TooSlow, _Unreadable):
                continue
            except PybuildError as problem:
                self._problem, self._over = problem, True  # a server that fails would fail for each blob
            except BaseException:
                self._over = True  # writing the document meets it again, where it can be raised

    def _send(self, layer: str, blob: LayerBlob, seconds: float) -> None:
        place = self.place
        if blob.size <= document.SMALL:
            return  # it is written with the document
        if place.has(blob) or (self._picky and self.rate.seconds(blob.size) > seconds):
            return
        limit = seconds if self._picky and blob.size >= SMALL else float("inf")
        began = time.monotonic()
        place.send(blob, lambda blob: self._read(layer, blob, limit))
        self.sent += blob.size
        if blob.size >= SMALL:
            self.rate.note(blob.size, time.monotonic() - began)

    def _read(self, layer: str, blob: LayerBlob, limit: float) -> _Watched:
        try:
            reader = self._source(layer)(blob)
        except PybuildError as problem:
            raise _Unreadable(problem.message) from problem
        return _Watched(reader, blob.size, limit, self)

    def is_over(self) -> bool:
        """Whether nothing is to be sent any more."""
        return self._over


class _TooSlow(PybuildError):
    """A transfer was given up: it would take longer than it is worth."""


class _Unreadable(PybuildError):
    """A layer's blob cannot be had. It says nothing of the others: the export asks for it, too, and tells why."""


class _Watched:
    """A blob that is being sent, given up where the whole would take more than `limit` seconds."""

    def __init__(self, reader: Reader, size: int, limit: float, uploads: Uploads) -> None:
        self._reader = reader
        self._size = size
        self._limit = limit
        self._uploads = uploads
        self._done = 0
        self._began = time.monotonic()

    def read(self, size: int = -1, /) -> bytes:
        if self._uploads.is_over():
            raise _TooSlow("the build is over")
        passed = time.monotonic() - self._began
        # What was read last may not be on its way yet.
        if passed > _DOUBT and passed * self._size > self._limit * max(self._done, 1):
            self._uploads.rate.note(self._done, passed)
            raise _TooSlow("it would take longer than its step did")
        try:
            data = self._reader.read(size)
        except PybuildError as problem:
            raise _Unreadable(problem.message) from problem
        self._done += len(data)
        return data

    def close(self) -> None:
        self._reader.close()
