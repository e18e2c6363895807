"""A layer's blob on its way: a thread receives, hashes and writes it, while whoever wants it takes what has come.

What broke off goes on where it stopped, from the registry itself where a mirror
keeps breaking off. A blob enters the store only when it is whole and its digest
is right; else the read raises and nothing is left.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from buildkit_py.errors import DigestMismatch, PybuildError, SourceError
from buildkit_py.http.retry import ATTEMPTS, pause
from buildkit_py.http.transport import Broken
from buildkit_py.image import reference
from buildkit_py.registry.bundle import PieceReader
from buildkit_py.registry.origin import where

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from buildkit_py.http.transport import Response
    from buildkit_py.registry.client import Client
    from buildkit_py.registry.fetch import Progress
    from buildkit_py.registry.origin import Origin
    from buildkit_py.store.blobs import BlobWriter
    from buildkit_py.store.layers import LayerBlob

CHUNK = 256 << 10
# Received but not yet taken by the unpacker; bounds memory when it is the slower one.
AHEAD = 64
# A layer that comes with fewer bytes a second than it may is given up after so long: it may take its time to begin.
PATIENCE = 20.0
# So much progress earns a broken transfer its full number of attempts again.
EARNED = 8 << 20
_PATIENCE = 1.0
# The main thread does not notice a signal that comes just before it goes to sleep.
_WAKES = 0.1


class Source:
    """The bytes of an origin; a transfer that breaks off is taken up again where it stopped.

    One that is slower than `slowest` bytes a second is given up. `client` is called when the first byte is wanted.
    """

    def __init__(
        self, client: Callable[[], Client], place: Origin, sleep: Callable[[float], object] | None, *, slowest: int
    ) -> None:
        self._slowest = slowest
        self._waited = 0.0
        self._client = client
        self._place = place
        self._sleep = sleep or time.sleep
        self._at = 0
        self._broken = 0
        self._broken_at = 0
        self._stream: Response | PieceReader | None = None
        self._mirror = ""
        self._stopped = False
        # Those that sent some of the bytes.
        self.mirrors: list[str] = []

    @property
    def where(self) -> str:
        """The place of the bytes, for people."""
        return where(self._place)

    def stop(self) -> None:
        """Give up, from another thread: a read that waits fails soon, and is not tried again."""
        self._stopped = True
        stream = self._stream
        if stream is not None:
            stream.interrupt()

    def read(self) -> bytes:
        while True:
            if self._stream is None:
                self._stream = self._open()  # tries again by itself
            began = time.monotonic()
            try:
                data = self._stream.read(CHUNK)
            except Broken as problem:
                self.close()
                self._pause_or_raise(problem)
                continue
            self._at += len(data)
            self._waited += time.monotonic() - began
            if data and self._waited > PATIENCE and self._at < self._slowest * self._waited:
                raise SourceError(f"the layer comes too slowly, {self._at / self._waited / 1000:.1f} kB a second")
            if self._at > self._place.size:
                raise DigestMismatch(f"the layer {self._place.digest} is longer than its {self._place.size} bytes")
            if not data and self._at < self._place.size:
                raise DigestMismatch(f"the layer {self._place.digest} has {self._at} bytes, not {self._place.size}")
            return data

    def _pause_or_raise(self, problem: Broken) -> None:
        if self._at - self._broken_at >= EARNED:
            self._broken = 0
        self._broken += 1
        self._broken_at = self._at
        if not self._stopped and self._broken >= ATTEMPTS and self._mirror:
            self._client().pass_over(self._mirror, self._place.digest, problem.message)
            self._broken = 0
            return
        if self._stopped or self._broken >= ATTEMPTS:
            raise problem
        self._sleep(pause(self._broken - 1, problem.retry_after))

    def _open(self) -> Response | PieceReader:
        if self._place.piece is not None:
            return PieceReader(self._place.piece, self._at)
        if self._place.url:
            return self._client().file(self._place.url, self._at)
        stream, self._mirror = self._client().blob(reference.parse(self._place.name), self._place.digest, self._at)
        if self._mirror:
            self.mirrors.append(self._mirror)
        return stream

    def pass_over_mirrors(self, problem: SourceError) -> None:
        """Ask none of those for these bytes again."""
        for mirror in self.mirrors:
            self._client().pass_over(mirror, self._place.digest, problem.message)

    def tell(self, problem: SourceError) -> None:
        """Add to a failure which mirrors failed before."""
        if self._place.name:
            problem.notes += tuple(
                note for note in self._client().failures(self._place.digest) if note not in problem.notes
            )

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class Incoming:
    """A blob on its way: a thread receives, hashes and writes it; `read` hands on what has come."""

    def __init__(
        self,
        source: Source,
        writer: BlobWriter,
        blob: LayerBlob,
        finished: Callable[[], object],
        progress: Progress | None,
        layer: str,
    ) -> None:
        self.blob = blob
        self._layer = layer
        self._source = source
        self._writer = writer
        self._finished = finished
        self._progress = progress
        self._pieces: deque[bytes] = deque()
        self._rest = b""
        self._ended = False
        self._stopped = False
        self._problem: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._receive, name="pybuild-fetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def read(self, size: int = CHUNK, /) -> bytes:
        if not self._rest:
            with self._changed:
                while not self._pieces and not self._ended:
                    self._changed.wait(_WAKES)
                if not self._pieces:
                    if self._problem is not None:
                        raise self._problem
                    return b""
                self._rest = self._pieces.popleft()
                self._changed.notify()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def failed(self, problem: SourceError) -> bool:
        """Take what went wrong with these bytes; True where a mirror sent them, and they can be had elsewhere.

        That they are no archive shows before their digest is known: where that is wrong, too, it is raised instead.
        """
        try:
            while self.read():
                pass
        except DigestMismatch as wrong:
            if self._source.mirrors:
                self._source.pass_over_mirrors(wrong)
                return True
            self._source.tell(wrong)
            raise
        except SourceError:
            pass
        self._source.tell(problem)
        return False

    def close(self) -> None:
        with self._changed:
            self._stopped = True
            ended = self._ended
            self._changed.notify()
        if not ended:
            self._source.stop()
        # A thread that still connects is not waited for; it ends by itself and leaves nothing.
        self._thread.join(_PATIENCE)

    def _receive(self) -> None:
        problem: BaseException | None = None
        try:
            self._transfer()
        except BaseException as error:  # raised again in the thread that reads
            problem = error
            if isinstance(error, PybuildError):
                error.layer = self._layer
            if isinstance(error, SourceError) and error.at is None:
                error.at = self._source.where
        finally:
            self._source.close()
            self._writer.abort()
            with self._changed:
                self._problem, self._ended = problem, True
                self._changed.notify()

    def _transfer(self) -> None:
        done = 0
        while data := self._source.read():
            self._writer.write(data)
            done += len(data)
            if self._progress is not None:
                self._progress(done, self.blob.size)
            with self._changed:
                while len(self._pieces) >= AHEAD and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    raise SourceError("the transfer was given up")
                self._pieces.append(data)
                self._changed.notify()
        self._writer.commit(self.blob.digest)
        self._finished()
