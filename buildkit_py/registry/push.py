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
from buildkit_py.registry.fetch import Fetcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from buildkit_py.image.reference import Reference
    from buildkit_py.registry.client import Client
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


def push(store: Store, client: Client, digest: str, reference: Reference, *, progress: Progress | None = None) -> str:
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
    sender = _Sender(store, client, reference, tally)
    sender.send_layers(dict(zip(found.layers, diff_ids, strict=True)))
    sender.send(found.config.digest)
    client.put_manifest(reference, digest, data, found.media_type)
    if reference.tag:
        client.put_manifest(reference, reference.tag, data, found.media_type)
    return digest


class _Sender:
    """Brings blobs into one repository."""

    def __init__(self, store: Store, client: Client, reference: Reference, tally: _Tally) -> None:
        self._store = store
        self._client = client
        self._fetcher = Fetcher(store, lambda: client)
        self._reference = reference
        self._tally = tally
        self._stopped = threading.Event()

    def send_layers(self, layers: dict[Descriptor, str]) -> None:
        """Layers with their diff_ids, several at once; the first failure keeps what waits from beginning."""
        pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="pybuild-push")
        try:
            for _ in pool.map(self._send_layer, layers.keys(), layers.values()):
                pass
        finally:
            # After a failure or a signal nobody waits for a server that has fallen silent.
            self._stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def send(self, digest: str) -> None:
        """A blob of the store, unless the registry has it."""
        body = _StoredBody(self._store, digest, self._tally.add)
        if self._client.has(self._reference, digest):
            self._tally.add(body.size)
        else:
            self._client.upload(self._reference, digest, body)

    def _send_layer(self, layer: Descriptor, diff_id: str) -> None:
        if self._stopped.is_set():
            return
        client, reference, digest = self._client, self._reference, layer.digest
        if client.has(reference, digest) or (
            (sister := self._sister(layer, diff_id)) and client.mount(reference, digest, sister)
        ):
            self._tally.add(layer.size)
            return
        self._fetcher.vouch(diff_id.removeprefix("sha256:"), digest)
        client.upload(reference, digest, _StoredBody(self._store, digest, self._tally.add))

    def _sister(self, layer: Descriptor, diff_id: str) -> str:
        """Another repository of the same registry from which the layer was pulled, "" where there is none."""
        meta = self._store.layers.get(diff_id.removeprefix("sha256:"))
        for text in meta.origin if meta is not None else ():
            place = origin.read(text)
            registry, _, repository = place.name.partition("/")
            if place.digest == layer.digest and registry == self._reference.registry:
                return repository if repository != self._reference.repository else ""
        return ""
