"""Fetching the blob of a pulled layer, into the store and to whoever unpacks it, in one pass.

While a thread of its own receives, hashes and writes, the caller decompresses
and unpacks: on two cores a pull takes as long as its slower half. What broke
off goes on where it stopped. A blob enters the store only when it is whole and
its digest is right; else the caller's read raises and nothing is left.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from buildkit_py.errors import DigestMismatch, PybuildError, SourceError, StoreError
from buildkit_py.http.address import shown_url
from buildkit_py.http.retry import ATTEMPTS, pause
from buildkit_py.http.transport import Broken
from buildkit_py.image import reference
from buildkit_py.registry import origin as origins
from buildkit_py.registry.bundle import PieceReader
from buildkit_py.registry.origin import Origin
from buildkit_py.registry.tar_digest import CHECKED, is_proved, tar_digest
from buildkit_py.store.layers import LayerBlob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Protocol, Self, TypeAlias

    from buildkit_py.http.transport import Response
    from buildkit_py.registry.client import Client
    from buildkit_py.store.blobs import BlobWriter
    from buildkit_py.store.store import Store

    # bytes so far, bytes in all (0 where unknown)
    Progress: TypeAlias = Callable[[int, int], object]

    class Stream(Protocol):
        """A layer's blob as it comes."""

        blob: LayerBlob

        def read(self, size: int = ..., /) -> bytes: ...

        def close(self) -> None: ...

        def __enter__(self) -> Self: ...

        def __exit__(
            self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
        ) -> None: ...


CHUNK = 256 << 10
# Received but not yet taken by the unpacker; bounds memory when it is the slower one.
AHEAD = 64
# A layer that a step made and that comes from elsewhere with fewer bytes a second is sooner made than fetched.
# It may take its time to begin.
SLOW = 32 << 10
PATIENCE = 20.0
# So much progress earns a broken transfer its full number of attempts again.
EARNED = 8 << 20
_PATIENCE = 1.0
# The main thread does not notice a signal that comes just before it goes to sleep.
_WAKES = 0.1


class Fetcher:
    """Gets layers' blobs for one store. Shared by threads. `received` hears how many bytes a blob had."""

    def __init__(
        self,
        store: Store,
        client: Client,
        *,
        sleep: Callable[[float], object] | None = None,
        received: Callable[[int], object] = int,
    ) -> None:
        self._received = received
        self._store = store
        self._client = client
        self._sleep = sleep or time.sleep

    def ensure_blob(self, layer_id: str, progress: Progress | None = None) -> str:
        """The digest of a blob of the layer that is in the store afterwards.

        Raises `SourceError` where it can be had nowhere, `DigestMismatch`, `StoreError`.
        """
        found = self._store.layers.any_blob(layer_id)
        if found is not None:
            return found[1].digest
        with self.open_blob(layer_id, progress) as stream:
            self._check(layer_id, stream)
        return stream.blob.digest

    def vouch(self, layer_id: str, digest: str) -> None:
        """See that a blob is here and holds what its layer is said to hold, before it is handed on under that name.

        An image's config names the tar of each layer, and whoever made the
        image may have lied. Raises as `ensure_blob`.
        """
        if not self._store.blobs.has(digest):
            self.ensure_blob(layer_id)
        blob = self._store.layers.described(layer_id, "origin")
        if not is_proved(self._store, layer_id, digest) and blob is not None and blob.digest == digest:
            with _Stored(self._store, blob, None, layer_id) as stream:
                self._check(layer_id, stream)

    def _check(self, layer_id: str, stream: Stream) -> None:
        found, wanted = tar_digest(stream.read, stream.blob.media_type), stream.blob.diff_id
        if wanted and found != wanted:
            meta = self._store.layers.get(layer_id)
            places = [_where(origins.read(text)) for text in meta.origin] if meta is not None else []
            # The layer that the image names may be another one's, and must be had from elsewhere.
            self._store.layers.lose(layer_id)
            problem = DigestMismatch(
                f"the layer's content is {found} and not {wanted}", at=places[0] if places else None
            )
            problem.layer = layer_id
            raise problem
        self._store.layers.set_note(layer_id, CHECKED, stream.blob.digest.encode())

    def open_blob(self, layer_id: str, progress: Progress | None = None) -> Stream:
        """A layer's blob as a stream, which is in the store once it was read to its end (`read` gave b"").

        `stream.blob` says what it is. Reading raises `DigestMismatch`,
        `RegistryError`, `SourceError`, `StoreError`. Close it, or use it in a `with`.
        """
        try:
            return self._open_blob(layer_id, progress)
        except PybuildError as problem:
            problem.layer = layer_id
            raise

    def _open_blob(self, layer_id: str, progress: Progress | None) -> Stream:
        found = self._store.layers.any_blob(layer_id)
        if found is not None:
            return _Stored(self._store, found[1], progress, layer_id)
        meta = self._store.layers.get(layer_id)
        places = [origins.read(text) for text in meta.origin] if meta is not None else []
        if meta is None or not places:
            raise StoreError(
                f"the files of the layer {layer_id[:12]} are gone from the store",
                at=self._store.root,
                hint="build with --no-cache, or pull its image again with --pull",
            )
        for place in places:
            if self._store.blobs.has(place.digest):
                blob = self._note(layer_id, meta.diff_id, place)
                return _Stored(self._store, blob, progress, layer_id)
        blob = LayerBlob(meta.diff_id, places[0].digest, places[0].size, places[0].media_type)
        is_built = meta.diff_id != f"sha256:{meta.id}"
        source = _Source(self._client, places[0], self._sleep, slowest=SLOW if is_built else 0)
        return _Incoming(
            source,
            self._store.blobs.writer(),
            blob,
            lambda: self._arrived(layer_id, blob),
            progress,
            layer_id,
        )

    def _arrived(self, layer_id: str, blob: LayerBlob) -> None:
        self._store.layers.set_blob(layer_id, "origin", blob)
        self._received(blob.size)

    def _note(self, layer_id: str, diff_id: str, place: Origin) -> LayerBlob:
        blob = LayerBlob(diff_id, place.digest, place.size, place.media_type)
        self._store.layers.set_blob(layer_id, "origin", blob)
        return blob


def _where(place: Origin) -> str:
    if place.piece is not None:
        return place.piece.path
    return shown_url(place.url) if place.url else place.name


class _Source:
    """The bytes of an origin; a transfer that breaks off is taken up again where it stopped.

    One that is slower than `slowest` bytes a second is given up.
    """

    def __init__(self, client: Client, place: Origin, sleep: Callable[[float], object], *, slowest: int) -> None:
        self._slowest = slowest
        self._waited = 0.0
        self._client = client
        self._place = place
        self._sleep = sleep
        self._at = 0
        self._broken = 0
        self._broken_at = 0
        self._stream: Response | PieceReader | None = None
        self._stopped = False

    @property
    def where(self) -> str:
        """The place of the bytes, for people."""
        return _where(self._place)

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
        if self._stopped or self._broken >= ATTEMPTS:
            raise problem
        self._sleep(pause(self._broken - 1, problem.retry_after))

    def _open(self) -> Response | PieceReader:
        if self._place.piece is not None:
            return PieceReader(self._place.piece, self._at)
        if self._place.url:
            return self._client.file(self._place.url, self._at)
        return self._client.blob(reference.parse(self._place.name), self._place.digest, self._at)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class _Closing:
    """`with` for streams."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Stored(_Closing):
    """A blob that is in the store already, verified as it is read."""

    def __init__(self, store: Store, blob: LayerBlob, progress: Progress | None, layer: str) -> None:
        self.blob = blob
        self._layer = layer
        self._reader = store.blobs.open(blob.digest)
        self._progress = progress
        self._done = 0

    def read(self, size: int = CHUNK, /) -> bytes:
        try:
            data = self._reader.read(size)
        except PybuildError as problem:
            problem.layer = self._layer
            raise
        self._done += len(data)
        if self._progress is not None and data:
            self._progress(self._done, self.blob.size)
        return data

    def close(self) -> None:
        self._reader.close()


class _Incoming(_Closing):
    """A blob on its way: a thread receives, hashes and writes it; `read` hands on what has come."""

    def __init__(
        self,
        source: _Source,
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
