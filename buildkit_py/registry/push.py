"""Pushing an image from the store to a registry: its blobs, then its manifest under digest and tag.

What the registry has is not sent. A layer that was pulled from another
repository of the same registry is mounted from there, and need not even be in
the store. The manifest goes last, so a tag never names something incomplete.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from buildkit_py.errors import StoreError
from buildkit_py.image import document, manifest
from buildkit_py.image.manifest import Descriptor, Manifest
from buildkit_py.registry import origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from buildkit_py.image.reference import Reference
    from buildkit_py.registry.client import Client
    from buildkit_py.registry.fetch import Fetcher
    from buildkit_py.store.blobs import VerifiedReader
    from buildkit_py.store.store import Store

    # bytes sent or found there, bytes in all
    Progress: TypeAlias = Callable[[int, int], object]

PARALLEL = 4


class _StoredBody:
    """A blob of the store as a request body; checked against its digest while it is sent."""

    def __init__(self, store: Store, digest: str, sent: Callable[[int], object]) -> None:
        self.size = store.blobs.size(digest)
        self._store = store
        self._digest = digest
        self._sent = sent

    def open(self) -> _Counted:
        return _Counted(self._store.blobs.open(self._digest), self._sent)


class _Counted:
    def __init__(self, reader: VerifiedReader, sent: Callable[[int], object]) -> None:
        self._reader = reader
        self._sent = sent

    def read(self, size: int = 1 << 18, /) -> bytes:
        data = self._reader.read(size)
        self._sent(len(data))
        return data

    def close(self) -> None:
        self._reader.close()


class _Tally:
    """Bytes done by all threads together."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        if self._progress is not None and count:
            with self._lock:
                self._done = min(self._done + count, self._total)
                self._progress(self._done, self._total)


def push(
    store: Store,
    client: Client,
    fetcher: Fetcher,
    digest: str,
    reference: Reference,
    progress: Progress | None = None,
) -> str:
    """Push the image whose manifest has that digest; the digest, as the registry has it now.

    With a tag in `reference` the tag names it afterwards, without one only its
    digest does. Raises `RegistryError`, `DigestMismatch`, `StoreError`, `SourceError`.
    """
    data = store.blobs.read(digest)
    found = manifest.parse(data)
    if not isinstance(found, Manifest):
        raise StoreError("an index cannot be pushed from the store", at=digest)
    diff_ids = document.load(store.blobs.read(found.config.digest)).diff_ids
    tally = _Tally(sum(item.size for item in (found.config, *found.layers)), progress)
    layers = dict(zip(found.layers, diff_ids, strict=True)).items()
    stop = threading.Event()

    def send(item: tuple[Descriptor, str]) -> None:
        if not stop.is_set():
            _send_layer(store, client, fetcher, reference, *item, tally)

    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="pybuild-push") as pool:
        try:
            for _ in pool.map(send, layers):
                pass
        except BaseException:
            stop.set()  # what waits is not begun
            raise
    config = found.config.digest
    if not client.has(reference, config):
        client.upload(reference, config, _StoredBody(store, config, tally.add))
    client.put_manifest(reference, digest, data, found.media_type)
    if reference.tag:
        client.put_manifest(reference, reference.tag, data, found.media_type)
    return digest


def _send_layer(
    store: Store,
    client: Client,
    fetcher: Fetcher,
    reference: Reference,
    layer: Descriptor,
    diff_id: str,
    tally: _Tally,
) -> None:
    if client.has(reference, layer.digest):
        tally.add(layer.size)
        return
    sister = _sister(store, diff_id, layer.digest, reference)
    if sister and client.mount(reference, layer.digest, sister):
        tally.add(layer.size)
        return
    if not store.blobs.has(layer.digest):
        fetcher.ensure_blob(diff_id.removeprefix("sha256:"))
    client.upload(reference, layer.digest, _StoredBody(store, layer.digest, tally.add))


def _sister(store: Store, diff_id: str, digest: str, reference: Reference) -> str:
    """Another repository of the same registry from which the layer was pulled, "" where there is none."""
    meta = store.layers.get(diff_id.removeprefix("sha256:"))
    for text in meta.origin if meta is not None else ():
        place = origin.read(text)
        registry, _, repository = place.name.partition("/")
        if place.digest == digest and registry == reference.registry and repository != reference.repository:
            return repository
    return ""
