"""Exporting: a cache document and the blobs that it names, written to a place."""

from __future__ import annotations

from buildkit_py.portable import document
from buildkit_py.portable.artifact import Signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.portable.document import CacheDocument
    from buildkit_py.portable.place import Place, Source
    from buildkit_py.registry.fetch import Fetcher
    from buildkit_py.store.blobs import VerifiedReader
    from buildkit_py.store.layers import LayerBlob
    from buildkit_py.store.store import Store


def export(store: Store, found: CacheDocument, place: Place, fetcher: Callable[[], Fetcher]) -> int:
    """Write a document to a place; how many bytes had to be sent.

    `fetcher` is only asked for where a blob has to come from elsewhere: what it stands on takes time to load.

    What the place has already is not sent, and so it need not be here either.
    Raises `SourceError`, `StoreError`.
    """
    data = document.dump(found)
    layers = {layer.blob.digest: layer for layer in found.layers if not layer.data}
    blobs = [layer.blob for layer in layers.values()]
    source = reading(store, fetcher, lambda blob: layers[blob.digest].id)
    return place.write(Signed(data), blobs, source)


def reading(store: Store, fetcher: Callable[[], Fetcher], layer_of: Callable[[LayerBlob], str]) -> Source:
    """What opens the blobs of layers, whose ids `layer_of` gives; one that is not here is fetched first."""

    def source(blob: LayerBlob) -> VerifiedReader:
        if not store.blobs.has(blob.digest):
            fetcher().ensure_blob(layer_of(blob))
        return store.blobs.open(blob.digest)

    return source
