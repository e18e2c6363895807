"""Making an image of a build's result: its config document and manifest, in the store.

As BuildKit writes them, with one difference: `created` is the time of the last
step's result and not of the export, so a rebuild that finds everything in the
cache gives the same digest, and so does building the cache anew under
SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import time

from buildkit_py.errors import ExportError, StoreCorrupt, UsageError
from buildkit_py.image import document, manifest, platform
from buildkit_py.image.config import History, ImageConfig, ImageDocument
from buildkit_py.image.layer_count import check_count
from buildkit_py.image.manifest import Descriptor, Manifest
from buildkit_py.image.platform import Platform
from buildkit_py.image.strict_json import Malformed
from buildkit_py.record import Record
from buildkit_py.store.layers import LayerBlob, LayerMeta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from buildkit_py.store.store import Store


class Built(Record):
    """What a target came to. `layers` are ids of layers in the store, lowest first.

    `created` of a history entry is when its step's result was made (RFC 3339);
    "" where that is not known. The first `inherited` entries are the base
    image's and are never changed. `labels` are added to those of `config`.
    `epoch` is SOURCE_DATE_EPOCH: no later time is written. `metas` are the layers' descriptions, if they were read.
    """

    config: ImageConfig
    history: tuple[History, ...]
    platform: str
    layers: tuple[str, ...]
    author: str = ""
    created: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    inherited: int = 0
    epoch: int | None = None
    metas: tuple[LayerMeta | None, ...] = ()


class Image(Record):
    """An image in the store, read and ready to be written somewhere. `digest` and `data` are the manifest's."""

    digest: str
    data: bytes
    manifest: Manifest
    config_data: bytes
    document: ImageDocument

    @property
    def platform(self) -> Platform:
        return platform.of_image(self.document)


def timestamp(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def make_image(store: Store, built: Built, blob_of: Callable[[str], LayerBlob], *, docker_types: bool = False) -> str:
    """Write config and manifest of a result into the store; the manifest's digest.

    `blob_of` gives the blob of a layer by its id; a pulled layer's need not be
    in the store. Raises `ExportError` for more layers than can be mounted and
    for impure ones, `UsageError` for zstd layers under docker's media types.
    """
    refuse_impure(built.metas or map(store.layers.get, built.layers))
    check_count(len(built.layers))
    blobs = [blob_of(layer) for layer in built.layers]
    history = _history(built, len(blobs))
    target = platform.parse(built.platform)
    created = built.created or next((entry.created for entry in reversed(history) if entry.created), "")
    labels = dict(built.config.labels)
    labels.update(built.labels)
    config = document.dump(
        ImageDocument(
            architecture=target.architecture,
            os=target.os,
            variant=target.variant,
            config=built.config.replace(labels=tuple(labels.items())),
            diff_ids=tuple(blob.diff_id for blob in blobs),
            history=history,
            created=timestamp(built.epoch) if built.epoch is not None else created,
            author=built.author,
        )
    )
    types = (
        (manifest.DOCKER_MANIFEST, manifest.DOCKER_CONFIG)
        if docker_types
        else (
            manifest.OCI_MANIFEST,
            manifest.OCI_CONFIG,
        )
    )
    data = manifest.dump(
        Manifest(
            types[0],
            Descriptor(types[1], store.blobs.put(config), len(config)),
            tuple(_descriptor(blob, docker_types) for blob in blobs),
        )
    )
    return store.blobs.put(data)


def _descriptor(blob: LayerBlob, docker_types: bool) -> Descriptor:
    compression = manifest.layer_compression(blob.media_type)
    if not compression:
        raise ExportError(f"the layer {blob.digest} has the unknown type `{blob.media_type}`")
    try:
        media_type = manifest.layer_media_type(compression, docker=docker_types)
    except ValueError as problem:
        raise UsageError(
            "docker's media types know no zstd, and a layer is packed with it",
            hint="use compression=gzip,force-compression=true, or leave out oci-mediatypes=false",
        ) from problem
    return Descriptor(media_type, blob.digest, blob.size)


def _history(built: Built, layers: int) -> tuple[History, ...]:
    """The history with as many entries that made a layer as there are layers, and no time after the epoch."""
    entries, spent = [], 0
    limit = timestamp(built.epoch) if built.epoch is not None else ""
    for position, entry in enumerate(built.history):
        if not entry.empty_layer:
            spent += 1
            if spent > layers:  # an old base image whose history says more than it has
                entry = entry.replace(empty_layer=True)
        if position >= built.inherited and limit and (not entry.created or entry.created > limit):
            entry = entry.replace(created=limit)
        entries.append(entry)
    if spent < layers:
        # A base image without a history: its layers come first, unnamed, as in BuildKit.
        missing = [History("", comment="", created="") for _ in range(layers - spent)]
        entries[:0] = missing
    return tuple(entries)


def load(store: Store, digest: str) -> Image:
    """The image whose manifest has that digest. Raises `StoreCorrupt` where the store has no whole image of it."""
    try:
        data = store.blobs.read(digest)
        found = manifest.parse(data)
        if not isinstance(found, Manifest):
            raise StoreCorrupt(f"`{digest}` in the store is an index and no image")
        config = store.blobs.read(found.config.digest)
        return Image(digest, data, found, config, document.load(config))
    except Malformed as problem:
        raise StoreCorrupt(f"the image `{digest}` in the store is damaged: {problem}") from problem


def refuse_impure(metas: Iterable[LayerMeta | None]) -> None:
    """Raise `ExportError` if one of these is of a layer on this machine's own root: such a layer never leaves it."""
    for meta in metas:
        if meta is not None and meta.impure:
            raise ExportError(
                "what stands on this machine's own root filesystem does not leave the machine",
                hint="copy what it made into a target that starts from a real base image or from scratch",
            )
