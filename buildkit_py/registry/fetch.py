"""Fetching the blob of a pulled layer, into the store and to whoever unpacks it, in one pass.

While a thread of its own receives, hashes and writes (`incoming.py`), the
caller decompresses and unpacks: on two cores a pull takes as long as its
slower half. A blob that is in the store already is read from there, and
nothing of the network is imported for it.
"""

from __future__ import annotations

from buildkit_py.errors import DigestMismatch, PybuildError, SourceError, StoreError
from buildkit_py.registry import origin as origins
from buildkit_py.registry.origin import ORIGIN, Origin, claim, claimed, is_claim, where
from buildkit_py.registry.tar_digest import is_proved, prove, tar_digest
from buildkit_py.store.layers import LayerBlob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Protocol, Self, TypeAlias, TypeVar

    from buildkit_py.registry.client import Client
    from buildkit_py.store.store import Store

    # bytes so far, bytes in all (0 where unknown)
    Progress: TypeAlias = Callable[[int, int], object]
    T = TypeVar("T")

    class Stream(Protocol):
        """A layer's blob as it comes."""

        blob: LayerBlob

        def read(self, size: int = ..., /) -> bytes: ...

        def failed(self, problem: SourceError) -> bool: ...

        def close(self) -> None: ...

        def __enter__(self) -> Self: ...

        def __exit__(
            self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
        ) -> None: ...


# A layer that a step made and that comes from elsewhere with fewer bytes a second is sooner made than fetched.
SLOW = 32 << 10
_CHUNK = 256 << 10


class Fetcher:
    """Gets layers' blobs for one store. Shared by threads.

    `client` is called when a blob must come from a registry or the web; `received` hears how many bytes one had.
    """

    def __init__(
        self,
        store: Store,
        client: Callable[[], Client],
        *,
        sleep: Callable[[float], object] | None = None,
        received: Callable[[int], object] = int,
    ) -> None:
        self._received = received
        self._store = store
        self._client = client
        self._sleep = sleep

    def ensure_blob(self, layer_id: str, progress: Progress | None = None, digest: str = "") -> str:
        """The digest of a blob of the layer that is in the store afterwards.

        With `digest` it is just that one: other blobs of the layer, packed otherwise, are not what an image names.
        Raises `SourceError` where it can be had nowhere, `DigestMismatch`, `StoreError`.
        """
        if digest and self._store.blobs.has(digest):
            return digest
        found = self._held(layer_id) if not digest else None
        if found is not None:
            return found.digest

        def check(stream: Stream) -> str:
            self._check(layer_id, stream)
            return stream.blob.digest

        return self.through(layer_id, check, progress, digest)

    def vouch(self, layer_id: str, digest: str) -> None:
        """See that a blob is here and holds what its layer is said to hold, before it is handed on under that name.

        An image's config names the tar of each layer, and whoever made the
        image may have lied. Raises as `ensure_blob`.
        """
        if not self._store.blobs.has(digest):
            self.ensure_blob(layer_id, digest=digest)
        blob = claimed(self._store.layers, layer_id, digest)
        if not is_proved(self._store, layer_id, digest) and blob is not None:
            with _Stored(self._store, blob, None, layer_id) as stream:
                self._check(layer_id, stream)

    def _check(self, layer_id: str, stream: Stream) -> None:
        found, wanted = tar_digest(stream.read, stream.blob.media_type), stream.blob.diff_id
        if wanted and found != wanted:
            meta = self._store.layers.get(layer_id)
            places = [where(origins.read(text)) for text in meta.origin] if meta is not None else []
            # The layer that the image names may be another one's, and must be had from elsewhere.
            self._store.layers.lose(layer_id)
            problem = DigestMismatch(
                f"the layer's content is {found} and not {wanted}", at=places[0] if places else None
            )
            problem.layer = layer_id
            raise problem
        prove(self._store, layer_id, stream.blob.digest)

    def through(
        self, layer_id: str, use: Callable[[Stream], T], progress: Progress | None = None, digest: str = ""
    ) -> T:
        """What `use` makes of a layer's blob as a stream (`open_blob`), which it reads to its end.

        Where a mirror sent something else, it is called anew, with what comes from the next one or the registry
        itself. Raises as `open_blob` and as `use` does.
        """
        while True:
            with self.open_blob(layer_id, progress, digest) as stream:
                try:
                    return use(stream)
                except SourceError as problem:
                    if not stream.failed(problem):
                        if not problem.layer:  # no failure to get the bytes, then: they are nothing that can be used
                            self._say_which(problem, layer_id, stream.blob)
                        raise

    def _say_which(self, problem: SourceError, layer_id: str, blob: LayerBlob) -> None:
        """Let what is wrong with the bytes of a layer say which layer that is, whence it came, and what helps."""
        meta = self._store.layers.get(layer_id)
        places = [origins.read(text) for text in meta.origin] if meta is not None else []
        problem.layer = layer_id
        problem.message = f"the layer {blob.digest} cannot be unpacked: {problem.message}"
        problem.at = next((where(place) for place in places if place.digest == blob.digest), problem.at)
        if meta is not None and meta.diff_id == f"sha256:{layer_id}":  # as those of images are called
            problem.hint = problem.hint or "have the image made anew, or take another one: it came as it was made"

    def open_blob(self, layer_id: str, progress: Progress | None = None, digest: str = "") -> Stream:
        """A layer's blob as a stream, which is in the store once it was read to its end (`read` gave b"").

        With `digest` it is that one, which is not in the store. `stream.blob`
        says what it is. Reading raises `DigestMismatch`, `RegistryError`,
        `SourceError`, `StoreError`. Close it, or use it in a `with`.
        """
        try:
            return self._open_blob(layer_id, progress, digest)
        except PybuildError as problem:
            problem.layer = layer_id
            raise

    def _open_blob(self, layer_id: str, progress: Progress | None, digest: str) -> Stream:
        found = self._held(layer_id) if not digest else None
        if found is not None:
            return _Stored(self._store, found, progress, layer_id)
        meta = self._store.layers.get(layer_id)
        places = [origins.read(text) for text in meta.origin] if meta is not None else []
        if digest:
            places = [place for place in places if place.digest == digest]
        if meta is None or not places:
            is_otherwise = digest and (self._store.layers.trees(layer_id) or self._store.layers.any_blob(layer_id))
            raise StoreError(
                f"the layer {layer_id[:12]} is in the store, but not as its image has it, in the blob {digest}"
                if is_otherwise
                else f"the files of the layer {layer_id[:12]} are gone from the store",
                at=self._store.root,
                hint="build with --no-cache, or pull its image again with --pull",
            )
        for number, place in enumerate(places):
            if place.data:
                self._store.blobs.put(place.data)
            # Where an image got its blob is believed of the first place only; of others it must have been seen.
            is_believed = number == 0 or place.data or is_proved(self._store, layer_id, place.digest)
            if is_believed and self._store.blobs.has(place.digest):
                blob = self._note(layer_id, meta.diff_id, place)
                return _Stored(self._store, blob, progress, layer_id)
        blob = LayerBlob(meta.diff_id, places[0].digest, places[0].size, places[0].media_type)
        is_built = meta.diff_id != f"sha256:{meta.id}"
        from buildkit_py.registry.incoming import Incoming, Source

        source = Source(self._client, places[0], self._sleep, slowest=SLOW if is_built else 0)
        return Incoming(
            source,
            self._store.blobs.writer(),
            blob,
            lambda: self._arrived(layer_id, blob),
            progress,
            layer_id,
        )

    def _held(self, layer_id: str) -> LayerBlob | None:
        """A blob of the layer that is here.

        Of those that images name the one that was named last is believed until it is read; others must have been seen.
        """
        layers = self._store.layers
        for variant in layers.variants(layer_id):
            blob = layers.blob(layer_id, variant)
            if blob is not None and (
                not is_claim(variant) or variant == ORIGIN or is_proved(self._store, layer_id, blob.digest)
            ):
                return blob
        return None

    def _arrived(self, layer_id: str, blob: LayerBlob) -> None:
        claim(self._store.layers, layer_id, blob)
        self._received(blob.size)

    def _note(self, layer_id: str, diff_id: str, place: Origin) -> LayerBlob:
        blob = LayerBlob(diff_id, place.digest, place.size, place.media_type)
        claim(self._store.layers, layer_id, blob)
        return blob


class _Stored:
    """A blob that is in the store already, verified as it is read."""

    def __init__(self, store: Store, blob: LayerBlob, progress: Progress | None, layer: str) -> None:
        self.blob = blob
        self._layer = layer
        self._reader = store.blobs.open(blob.digest)
        self._progress = progress
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def read(self, size: int = _CHUNK, /) -> bytes:
        try:
            data = self._reader.read(size)
        except PybuildError as problem:
            problem.layer = self._layer
            raise
        self._done += len(data)
        if self._progress is not None and data:
            self._progress(self._done, self.blob.size)
        return data

    def failed(self, problem: SourceError) -> bool:
        while self.read():
            pass  # a blob that was damaged here is set aside
        return False

    def close(self) -> None:
        self._reader.close()
