"""From what a name leads to, down to one image for one platform, and that image's documents into the store.

A name leads to a manifest, or to an index of manifests for several platforms.
Going down is the same for registries, layouts and archives; they differ in how
a blob is read. Layers are only noted with their origin: they are fetched when
a step or a person needs their files.
"""

from __future__ import annotations

from buildkit_py.digest import digest_of, is_sha256
from buildkit_py.errors import DigestMismatch, ImageNotFound, SourceError, StoreError
from buildkit_py.image import document, manifest, platform
from buildkit_py.image.config import ImageDocument
from buildkit_py.image.document import MAX_CONFIG
from buildkit_py.image.manifest import MAX_MANIFEST, Descriptor, Index, Manifest
from buildkit_py.image.platform import Platform
from buildkit_py.image.strict_json import Malformed
from buildkit_py.record import Record
from buildkit_py.registry import origin
from buildkit_py.registry.tar_digest import tar_digest
from buildkit_py.store.layers import LayerBlob, LayerMeta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.registry.origin import Origin
    from buildkit_py.store.store import Store

# An index may name an index; deeper nesting is nothing that a tool writes.
MAX_DEPTH = 2
# So many blobs of one layer, each packed otherwise, can be had at once.
_PACKINGS = 8


class Fetched(Record):
    """A manifest's bytes, checked against `digest`; `media_type` is the server's word."""

    data: bytes
    media_type: str
    digest: str


class Chosen(Record):
    """One image: its manifest and config, read and as bytes. `digest` is the manifest's."""

    digest: str
    manifest: Manifest
    manifest_data: bytes
    document: ImageDocument
    config_data: bytes


def choose(
    first: Fetched,
    wanted: Platform,
    read_manifest: Callable[[Descriptor], bytes],
    read_blob: Callable[[Descriptor], bytes],
) -> Chosen:
    """The image for a platform below the document that a name led to.

    The callables give the bytes of a descriptor; they are checked here. Raises
    `ImageNotFound` where there is none for that platform, `DigestMismatch`,
    `Malformed`.
    """
    current = first
    for _ in range(MAX_DEPTH + 1):
        found = manifest.parse(current.data, current.media_type)
        if isinstance(found, Manifest):
            return _image(current, found, read_blob)
        descriptor = _select(found, wanted)
        data = checked(descriptor, read_manifest(descriptor), MAX_MANIFEST, "manifest")
        current = Fetched(data, descriptor.media_type, descriptor.digest)
    raise Malformed("the indexes are nested too deeply")


def _select(index: Index, wanted: Platform) -> Descriptor:
    kinds = manifest.MANIFESTS | manifest.INDEXES
    usable = [item for item in index.manifests if item.media_type in kinds and not _is_attestation(item)]
    chosen = platform.best(wanted, [item.platform for item in usable])
    if chosen is not None:
        return usable[chosen]
    unnamed = [item for item in usable if item.platform is None]
    if len(unnamed) == 1 and len(usable) == 1:
        return unnamed[0]
    offered = sorted({str(item.platform) for item in usable if item.platform and item.platform.os != "unknown"})
    raise ImageNotFound(
        f"the image is not there for {wanted}", notes=(f"it is there for {', '.join(offered) or 'no platform'}",)
    )


def _is_attestation(item: Descriptor) -> bool:
    """Whether it is what BuildKit keeps in an index about another image of it (its `docs/attestations`)."""
    is_nowhere = item.platform is not None and item.platform.os == item.platform.architecture == "unknown"
    return is_nowhere or any(key == "vnd.docker.reference.type" for key, _ in item.annotations)


def _image(current: Fetched, found: Manifest, read_blob: Callable[[Descriptor], bytes]) -> Chosen:
    manifest.check_image(found)
    if found.config.size > MAX_CONFIG:
        raise Malformed(f"the image config is larger than {MAX_CONFIG >> 20} MiB")
    data = checked(found.config, read_blob(found.config), MAX_CONFIG, "image config")
    config = document.load(data)
    for word in (config.os, config.architecture, config.variant):
        if word and not platform.is_word(word):
            raise Malformed(f"the image config says that it is for `{word[:100]}`, which is part of no platform")
    if len(config.diff_ids) != len(found.layers):
        raise Malformed(f"the manifest names {len(found.layers)} layers, the image config {len(config.diff_ids)}")
    return Chosen(current.digest, found, current.data, config, data)


def checked(descriptor: Descriptor, data: bytes, limit: int, what: str) -> bytes:
    """`data` if it is what the descriptor says. Raises `DigestMismatch` or `Malformed`."""
    if descriptor.size > limit:
        raise Malformed(f"the {what} is larger than {limit >> 20} MiB")
    if len(data) != descriptor.size:
        raise DigestMismatch(f"the {what} has {len(data)} bytes, not {descriptor.size}")
    digest = digest_of(data)
    if digest != descriptor.digest:
        raise DigestMismatch(f"the {what} is {digest}, not {descriptor.digest}")
    return data


def keep(store: Store, chosen: Chosen, origin_of: Callable[[Descriptor], Origin | None]) -> None:
    """Put an image's manifest and config into the store, and note where its layers are.

    `origin_of` says where a layer's blob can be had; None for one that is in the store already.
    """
    blobs = store.blobs
    for diff_id, layer in zip(chosen.document.diff_ids, chosen.manifest.layers, strict=True):
        note_layer(store, diff_id, layer, origin_of(layer))
    for digest, data in (
        (chosen.manifest.config.digest, chosen.config_data),
        (chosen.digest, chosen.manifest_data),
    ):
        if not blobs.has(digest):
            blobs.put(data)


def is_noted(store: Store, diff_id: str) -> bool:
    """Whether the store has the layer of images whose tar has that digest, or knows where it can be had."""
    name = diff_id.removeprefix("sha256:")
    meta = store.layers.get(name)
    return meta is not None and _is_of_images(meta, diff_id) and store.layers.present(name)


def _is_of_images(meta: LayerMeta, diff_id: str) -> bool:
    """Whether a layer that is called as one of images is one. What an older pybuild took from another machine's cache
    may be called so, too.
    """
    return (meta.content, meta.diff_id) == (meta.id, diff_id)


def note_layer(store: Store, diff_id: str, layer: Descriptor, where: Origin | None) -> None:
    """Make a pulled layer known to the store: id and content are the hex of its diff_id."""
    if not is_sha256(diff_id):
        raise ValueError(f"not a sha256 digest: {diff_id!r}")
    name = diff_id.removeprefix("sha256:")
    meta = LayerMeta(name, name, diff_id=diff_id, origin=(origin.write(where),) if where is not None else ())
    blob = LayerBlob(diff_id, layer.digest, layer.size, layer.media_type)
    layers = store.layers
    known = layers.add(meta, blob=(origin.ORIGIN, blob))
    if not _is_of_images(known, diff_id):
        layers.delete(name)
        known = layers.add(meta, blob=(origin.ORIGIN, blob))
    if known.origin[:1] == meta.origin and layers.described(name, origin.ORIGIN) == blob:
        return
    with layers.lock(name):
        others = tuple(text for text in known.origin if origin.read(text).digest != layer.digest)[: _PACKINGS - 1]
        held = layers.any_blob(name)
        if layers.trees(name) or (held is not None and _unpacks(store, held[1])):
            # An image has it in another blob, or it is had elsewhere now: who hands that image on wants just that blob.
            layers.place(name, (*others, *meta.origin))
            origin.claim(layers, name, blob)
            return
        # Noted from elsewhere and never fetched: the place that was named last is the one that answers now.
        # Or fetched and passed on without being unpacked, by an image that claimed the diff_id of another's layer.
        layers.delete(name)
        layers.add(meta.replace(origin=(*meta.origin, *others)), blob=(origin.ORIGIN, blob))


def _unpacks(store: Store, blob: LayerBlob) -> bool:
    """Whether a blob that is here unpacks to what its diff_id says."""
    try:
        reader = store.blobs.open(blob.digest)
        try:
            return blob.diff_id == tar_digest(reader.read, blob.media_type)
        finally:
            reader.close()
    except (SourceError, StoreError):
        return False
