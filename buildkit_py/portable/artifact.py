"""The artifact: the OCI manifest that joins a cache document and its layers' blobs, so that any registry keeps both.

OCI image-spec `manifest.md`, "Guidelines for Artifact Usage": the document
stands where an image has its config, and `artifactType` says what it all is.
An annotation carries the signature of a document that is signed as a whole,
as that of cache mounts is; records of steps are signed one by one.
"""

from __future__ import annotations

import io
import json

from buildkit_py.digest import digest_of, is_sha256
from buildkit_py.errors import SourceError
from buildkit_py.image import strict_json
from buildkit_py.image.manifest import MAX_MANIFEST, OCI_MANIFEST, Descriptor
from buildkit_py.image.strict_json import Malformed
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.store.layers import LayerBlob

ARTIFACT_TYPE = "application/vnd.pybuild.cache.v1"
MOUNTS_TYPE = "application/vnd.pybuild.mounts.v1"
# A cache document, unpacked; one of ten thousand steps has 20 MiB.
LARGEST = 256 << 20
_JSON = "+json+zstd"
SIGNATURE = "vnd.pybuild.cache.signature"
# A registry takes manifests of 4 MiB (distribution-spec); a layer has some 200 bytes in one.
MOST_LAYERS = 16_000


class Signed(Record):
    """The bytes of a document and their signature (`signature.py`), "" for none."""

    data: bytes
    signature: str = ""


class Artifact(Record):
    """An artifact as its manifest has it: where its document is, and the signature of that."""

    document: Descriptor
    signature: str


def pack(data: bytes) -> bytes:
    """A document as a place keeps it: compressed (zstd), for its keys and words stand in it many times."""
    from buildkit_py.image.compress import compressor

    made = compressor("zstd", size=len(data))
    return made.compress(data) + made.flush()


def unpack(data: bytes) -> bytes:
    """The document that a place keeps so. Raises `Malformed` where it is none, or longer than any is."""
    from buildkit_py.image.compress import decompress

    pieces, total = [], 0
    try:
        for piece in decompress(io.BytesIO(data).read, "zstd"):
            total += len(piece)
            if total > LARGEST:
                raise Malformed(f"the cache document is longer than {LARGEST >> 20} MiB")
            pieces.append(piece)
    except SourceError as problem:
        raise Malformed(f"the cache document cannot be read: {problem.message}") from problem
    return b"".join(pieces)


def dump(document: bytes, signature: str, blobs: Sequence[LayerBlob], kind: str = ARTIFACT_TYPE) -> bytes:
    """The manifest over a packed document, its signature ("" for none) and blobs; `kind` is its artifact type.

    Raises `SourceError` for more blobs than a manifest can name.
    """
    if len(blobs) > MOST_LAYERS:
        raise SourceError(
            f"a cache of {len(blobs)} layers does not fit into one manifest", hint="write fewer with mode=min"
        )
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": kind + _JSON, "digest": digest_of(document), "size": len(document)},
        "layers": [{"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size} for blob in blobs],
    }
    if signature:
        value["annotations"] = {SIGNATURE: signature}
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def parse(data: bytes, kind: str = ARTIFACT_TYPE) -> Artifact:
    """What a manifest says of its document. Raises `Malformed` where it is no manifest of that kind."""
    what = "cache's manifest"
    value = strict_json.parse_object(data, limit=MAX_MANIFEST, what=what)
    config = strict_json.mapping(value, "config", what) or {}
    if strict_json.text(config, "mediaType", what) != kind + _JSON:
        raise Malformed("what is there is no cache of pybuild", hint="name another place; an image is no cache")
    digest = strict_json.text(config, "digest", what)
    size = strict_json.integer(config, "size", what, None)
    if not is_sha256(digest) or not 0 <= size <= LARGEST:
        raise Malformed(f"the {what} names no document that can be read")
    annotations = dict(strict_json.text_pairs(value, "annotations", what))
    return Artifact(Descriptor(kind + _JSON, digest, size), annotations.get(SIGNATURE, ""))


def blobs_of(data: bytes) -> frozenset[str]:
    """The digests of all blobs that a manifest names. Raises `Malformed`."""
    what = "manifest"
    value = strict_json.parse_object(data, limit=MAX_MANIFEST, what=what)
    named = [strict_json.mapping(value, "config", what) or {}]
    named += strict_json.objects(value, "layers", what) + strict_json.objects(value, "manifests", what)
    return frozenset(strict_json.text(one, "digest", what) for one in named)
