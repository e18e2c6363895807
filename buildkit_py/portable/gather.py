"""Gathering: from steps that have results in the store to the cache document that says so, and several into one."""

from __future__ import annotations

from buildkit_py.digest import key_of
from buildkit_py.errors import PybuildError, StoreCorrupt
from buildkit_py.portable.document import SMALL, CachedLayer, CacheDocument, CachedStep, described, is_own_name
from buildkit_py.portable.follow import defines
from buildkit_py.registry import origin as origins
from buildkit_py.store.chain import content_of
from buildkit_py.store.owners import ONE_ID, bound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from buildkit_py.store.layers import LayerBlob, LayerMeta
    from buildkit_py.store.records import StepRecord
    from buildkit_py.store.store import Store


def gather(
    store: Store,
    results: Iterable[tuple[str, str]],
    variant: str,
    blob_of: Callable[[str], LayerBlob],
    *,
    complete: bool = True,
) -> CacheDocument:
    """The document of these results, each (definition key, snapshot), inputs first; `complete` if they are all.

    `blob_of` gives a layer's blob, packed as `variant`, and makes it if need
    be. What stands on this machine's own root (`impure`) is left out, and so
    is what has no record (any more). Raises what `blob_of` raises.
    """
    owners = ONE_ID if bound(store) == ONE_ID else ""
    steps: list[CachedStep] = []
    layers: dict[str, CachedLayer | None] = {}
    for definition, snapshot in results:
        record = store.records.get(definition)
        if record is None or not record.layer or not snapshot:
            continue
        if owners and not record.signature:
            record = record.replace(owners=owners)
        step = _step(store, record, store.snapshots.parent(snapshot))
        if step is None:
            continue
        if record.layer not in layers:
            layers[record.layer] = _layer(store, record.layer, variant, blob_of)
        layer = layers[record.layer]
        if layer is not None and not is_own_name(layer, step.base_content):
            layer = layers[record.layer] = layer.replace(over=_seen_by(store, step, layer))
        if layer is not None and is_own_name(layer, step.base_content):
            steps.append(step)
    named = {step.record.layer for step in steps}
    return CacheDocument(
        tuple(steps), tuple(layer for layer in layers.values() if layer is not None and layer.id in named), complete
    )


def join(documents: Sequence[CacheDocument]) -> CacheDocument:
    """One document of several; of a step that several have, what the last one says, and where."""
    steps: dict[str, CachedStep] = {}
    for document in documents:
        for step in document.steps:
            steps.pop(step.record.definition, None)  # so that it comes behind what this document has before it
            steps[step.record.definition] = step
    layers = {layer.id: layer for document in documents for layer in document.layers}
    named = {step.record.layer for step in steps.values()}
    return CacheDocument(
        tuple(steps.values()),
        tuple(layer for id, layer in layers.items() if id in named),
        all(document.complete for document in documents),
    )


def _step(store: Store, record: StepRecord, base: str) -> CachedStep | None:
    """The record as any machine may have it: a result's snapshot is the one that this build had it on.

    None where its definition is not that of its parts, as another pybuild may have left it.
    """
    parts = tuple(part for part in record.parts if part[0] != "listings")
    if not defines(parts, record.definition):
        return None
    snapshot = key_of("snapshot", base, record.layer)
    try:
        base_content = content_of(store, base)
    except StoreCorrupt:
        base_content = ""
    return CachedStep(record.replace(key=record.definition, parts=parts, snapshot=snapshot), base, base_content)


def _seen_by(store: Store, step: CachedStep, layer: CachedLayer) -> str:
    """The content of the filesystem that a layer is named by, one of those that its step takes files from: of a Run
    with `--inputs` what it sees. "" where none is known that it is.
    """
    for kind, key in step.record.parts[2][1]:
        record = store.records.get(key, parts=False) if kind == "step" else None
        try:
            content = content_of(store, record.snapshot) if record is not None else ""
        except StoreCorrupt:
            continue
        if content and is_own_name(layer.replace(over=content), ""):
            return content
    return ""


def _layer(store: Store, id: str, variant: str, blob_of: Callable[[str], LayerBlob]) -> CachedLayer | None:
    meta = store.layers.get(id)
    if meta is None or meta.impure:
        return None
    blob = blob_of(id)
    data = _data(store, meta, blob)
    return CachedLayer(
        id, meta.content, meta.empty, meta.entries, meta.size, meta.created, variant, blob, data, meta.times
    )


def _data(store: Store, meta: LayerMeta, blob: LayerBlob) -> bytes:
    """The bytes of a small blob that is here; b"" of any other, and of one that nobody would read so."""
    if blob.size > SMALL:
        return b""
    try:
        if store.blobs.has(blob.digest):
            with store.blobs.open(blob.digest) as reader:
                data = reader.read()
        else:
            places = (origins.read(text) for text in meta.origin)
            data = next((place.data for place in places if place.digest == blob.digest), b"")
        return data if described(data, blob.media_type) == blob else b""
    except PybuildError:
        return b""  # who sends it as a blob of its own says what is wrong with it
