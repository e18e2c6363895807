"""Manifests and indexes: the documents of a registry that name an image's config and layers by digest.

OCI image-spec `manifest.md` and `image-index.md`, and docker's older twins of
both (schema 2). Everything is checked before it is used: sizes and counts,
digests, and that a document is of one kind only. A document that is both a
manifest and an index means different things to different readers
(CVE-2021-41190) and is refused.
"""

from __future__ import annotations

from buildkit_py import json_text
from buildkit_py.digest import is_sha256
from buildkit_py.image import strict_json
from buildkit_py.image.layer_count import MAX_LAYERS
from buildkit_py.image.platform import Platform
from buildkit_py.image.strict_json import Malformed
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = frozenset((OCI_INDEX, DOCKER_INDEX))
MANIFESTS = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
CONFIGS = frozenset((OCI_CONFIG, DOCKER_CONFIG))
ACCEPTED = (OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST)

MAX_MANIFEST = 4 << 20
MAX_MANIFESTS = 1000
MAX_SIZE = (1 << 63) - 1

_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_COMPRESSION = {
    stem + suffix: compression
    for stem in (OCI_LAYER, DOCKER_LAYER, _NONDISTRIBUTABLE, _DOCKER_FOREIGN)
    for suffix, compression in (
        ("", "uncompressed"),
        ("+gzip", "gzip"),
        (".gzip", "gzip"),
        ("+zstd", "zstd"),
        (".zstd", "zstd"),
    )
}


class Descriptor(Record):
    """A blob by its media type, digest and size."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()


class Manifest(Record):
    """One image for one platform."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()


class Index(Record):
    """Several manifests, mostly one a platform."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()


def layer_compression(media_type: str) -> str:
    """ "gzip", "zstd" or "uncompressed" for a layer's media type; "" where that is no layer."""
    return _COMPRESSION.get(media_type, "")


def layer_media_type(compression: str, *, docker: bool = False) -> str:
    """The media type of a layer. Docker's own types have none for zstd (`ValueError`)."""
    if not docker:
        return {"gzip": OCI_LAYER + "+gzip", "zstd": OCI_LAYER + "+zstd", "uncompressed": OCI_LAYER}[compression]
    if compression == "zstd":
        raise ValueError("docker's media types know no zstd")
    return DOCKER_LAYER + (".gzip" if compression == "gzip" else "")


def read(data: bytes) -> dict[str, Any]:
    """The JSON of some bytes that have the form of manifests and indexes, whatever they are of. Raises `Malformed`."""
    value = strict_json.parse_object(data, limit=MAX_MANIFEST, what="manifest")
    version = strict_json.integer(value, "schemaVersion", "manifest", None)
    if version == 1 or "fsLayers" in value:
        raise Malformed(
            "the manifest has docker's schema 1, which carries no checkable digests",
            hint="push the image again with a current tool",
        )
    if version != 2:
        raise Malformed("`schemaVersion` of the manifest is not 2")
    return value


def parse(data: bytes, media_type: str = "") -> Manifest | Index:
    """The manifest or index in some bytes.

    `media_type` is what the server or the descriptor said it is ("" where nobody did).
    Raises `Malformed` where the document breaks a rule or contradicts that.
    """
    value = read(data)
    is_index, is_manifest = "manifests" in value, "layers" in value or "config" in value
    if is_index and is_manifest:
        raise Malformed("the document is a manifest and an index at once")
    if not is_index and not is_manifest:
        raise Malformed("the document is neither a manifest nor an index")
    own = strict_json.text(value, "mediaType", "manifest")
    kinds = INDEXES if is_index else MANIFESTS
    said = own or (media_type if media_type in ACCEPTED else "") or (OCI_INDEX if is_index else OCI_MANIFEST)
    if said not in kinds:
        raise Malformed(f"the media type `{said}` is not that of {'an index' if is_index else 'an image manifest'}")
    if own and media_type in ACCEPTED and own != media_type:
        raise Malformed(f"the document says that it is `{own}`, but was announced as `{media_type}`")
    annotations = strict_json.text_pairs(value, "annotations", "manifest")
    if is_index:
        items = strict_json.objects(value, "manifests", "index")
        if len(items) > MAX_MANIFESTS:
            raise Malformed(f"the index names more than {MAX_MANIFESTS} manifests")
        return Index(said, tuple(_descriptor(item, "index") for item in items), annotations)
    config = strict_json.mapping(value, "config", "manifest")
    if config is None:
        raise Malformed("the manifest names no config")
    items = strict_json.objects(value, "layers", "manifest")
    if len(items) > MAX_LAYERS:
        raise Malformed(f"the manifest names {len(items)} layers; {MAX_LAYERS} are the most that can be mounted")
    return Manifest(
        said, _descriptor(config, "manifest"), tuple(_descriptor(item, "manifest") for item in items), annotations
    )


def _descriptor(value: dict[str, Any], what: str) -> Descriptor:
    media_type = strict_json.text(value, "mediaType", f"{what}'s descriptor")
    digest = strict_json.text(value, "digest", f"{what}'s descriptor")
    size = strict_json.integer(value, "size", f"{what}'s descriptor", None)
    if not media_type:
        raise Malformed(f"a descriptor of the {what} has no media type")
    if not is_sha256(digest):
        raise Malformed(f"`{digest[:100]}` in the {what} is not a sha256 digest")
    if not 0 <= size <= MAX_SIZE:
        raise Malformed(f"a descriptor of the {what} has the impossible size {size}")
    raw = strict_json.mapping(value, "platform", f"{what}'s descriptor")
    platform = None
    if raw is not None:
        platform = Platform(*(strict_json.text(raw, key, "platform") for key in ("os", "architecture", "variant")))
    return Descriptor(
        media_type, digest, size, platform, strict_json.text_pairs(value, "annotations", f"{what}'s descriptor")
    )


def check_image(manifest: Manifest) -> None:
    """Raises `Malformed` unless the manifest is one of a container image, and not of some other artifact."""
    if manifest.config.media_type not in CONFIGS:
        raise Malformed(f"it is not a container image but an artifact of type `{manifest.config.media_type}`")
    for layer in manifest.layers:
        if not layer_compression(layer.media_type):
            raise Malformed(f"the manifest has a layer of the unknown type `{layer.media_type}`")


def dump(document: Manifest | Index) -> bytes:
    """The JSON of a manifest or index, always the same bytes for the same record."""
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": document.media_type}
    if isinstance(document, Manifest):
        value["config"] = _plain(document.config)
        value["layers"] = [_plain(layer) for layer in document.layers]
    else:
        value["manifests"] = [_plain(item) for item in document.manifests]
    if document.annotations:
        value["annotations"] = dict(sorted(document.annotations))
    return json_text.dump(value, indent=2).encode()


def _plain(descriptor: Descriptor) -> dict[str, Any]:
    value: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    if descriptor.annotations:
        value["annotations"] = dict(sorted(descriptor.annotations))
    if descriptor.platform is not None:
        platform = {"architecture": descriptor.platform.architecture, "os": descriptor.platform.os}
        if descriptor.platform.variant:
            platform["variant"] = descriptor.platform.variant
        value["platform"] = platform
    return value
