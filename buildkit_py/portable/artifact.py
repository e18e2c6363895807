"""The artifact: the OCI manifest that joins a cache document and its layers' blobs, so that any registry keeps both.

OCI image-spec `manifest.md`, "Guidelines for Artifact Usage": the document
stands where an image has its config, and `artifactType` says what it all is.
An annotation carries the signature of a document that is signed as a whole,
as that of cache mounts is; records of steps are signed one by one.

From one build to the next most of a document stays as it was. So where each
request takes its time, a later one leaves the older where it is and says in an
annotation what is otherwise (a *patch*): one manifest is all that is sent. Once patches are no longer much
smaller than the whole, the whole is written, and is what later ones patch.
"""

from __future__ import annotations

import io

from buildkit_py.digest import digest_of, is_sha256
from buildkit_py.errors import SourceError
from buildkit_py.image import strict_json
from buildkit_py.image.manifest import MAX_MANIFEST, OCI_MANIFEST, Descriptor
from buildkit_py.image.strict_json import Malformed
from buildkit_py.json_text import ascii_dump
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildkit_py.store.layers import LayerBlob

ARTIFACT_TYPE = "application/vnd.pybuild.cache.v1"
MOUNTS_TYPE = "application/vnd.pybuild.mounts.v1"
# A cache document, unpacked; one of ten thousand steps has 7 MiB.
LARGEST = 256 << 20
_JSON = "+json+zstd"
SIGNATURE = "vnd.pybuild.cache.signature"
PATCH = "vnd.pybuild.cache.patch"
# Registries need take no manifest of more than 4 MiB, and what stands before them often less.
_LONGEST_PATCH = 64 << 10
_HEAD = 100
_SKIPPABLE = 0x184D2A50.to_bytes(4, "little")
# A registry takes manifests of 4 MiB (distribution-spec); a layer has some 200 bytes in one.
MOST_LAYERS = 16_000


class Signed(Record):
    """The bytes of a document and their signature (`signature.py`), "" for none."""

    data: bytes
    signature: str = ""


class Artifact(Record):
    """An artifact that was read: its manifest, the document that this names, unpacked, and what its annotations say."""

    manifest: bytes
    base: Descriptor
    plain: bytes
    patch: bytes
    signature: str

    def signed(self) -> Signed:
        """The document as it is now. Raises `Malformed`."""
        return Signed(unpack(self.patch, self.plain) if self.patch else self.plain, self.signature)


def pack(data: bytes) -> bytes:
    """A document as a place keeps it: compressed (zstd), for its keys and words stand in it many times."""
    from buildkit_py.image.compress import compressor

    made = compressor("zstd", size=len(data))
    return made.compress(data) + made.flush()


def unpack(data: bytes, base: bytes = b"") -> bytes:
    """The document that a place keeps so, or the one that a patch makes of a `base`.

    Raises `Malformed` where it is none, or longer than any is.
    """
    from buildkit_py.image.compress import decompress

    pieces, total = [], 0
    try:
        for piece in decompress(io.BytesIO(data).read, "zstd", base):
            total += len(piece)
            if total > LARGEST:
                raise Malformed(f"the cache document is longer than {LARGEST >> 20} MiB")
            pieces.append(piece)
    except SourceError as problem:
        raise Malformed(f"the cache document cannot be read: {problem.message}") from problem
    return b"".join(pieces)


def make(
    signed: Signed, blobs: Sequence[LayerBlob], kind: str, before: Artifact | None = None, *, salt: bytes = b""
) -> tuple[bytes, bytes]:
    """The manifest of a document and its blobs, and the document as it has to be sent: b"" where it needs not.

    `before` is what is there so far, and so need not be sent; only documents of steps are patched. With a `salt` the
    same document has other bytes. Raises `SourceError` for more blobs than a manifest can name.
    """
    document = pack(signed.data) + (_skipped(salt) if salt else b"")
    notes = {SIGNATURE: signed.signature} if signed.signature else {}
    if before is not None and kind == ARTIFACT_TYPE:
        patch = _patch(signed.data, document, before)
        if patch is not None:
            return _dump(before.base, {**notes, **({PATCH: patch} if patch else {})}, blobs, kind), b""
    return _dump(Descriptor(kind + _JSON, digest_of(document), len(document)), notes, blobs, kind), document


def _patch(data: bytes, packed: bytes, before: Artifact) -> str | None:
    """What makes a document of the one before, in base64; "" where they are the same, None where the whole is sent."""
    from binascii import b2a_base64

    from buildkit_py.image.compress import zstd_patch

    if data == before.plain:
        return ""
    if _format(data) != _format(before.plain):
        return None  # who knows the older one alone knows of no patches, and would read it as it was
    patch = b2a_base64(zstd_patch(data, before.plain), newline=False).decode("ascii")
    # Who reads needs both.
    return patch if len(patch) <= min(_LONGEST_PATCH, len(packed) * 3 // 4) else None


def _skipped(data: bytes) -> bytes:
    """A frame that whoever unpacks passes over (RFC 8878, section 3.1.2)."""
    return _SKIPPABLE + len(data).to_bytes(4, "little") + data


def _format(data: bytes) -> bytes:
    """The name of a document's format. Of its keys, which are in order, `complete` alone stands before that."""
    return data[:_HEAD].partition(b'"format":"')[2].partition(b'"')[0]


def _dump(document: Descriptor, annotations: Mapping[str, str], blobs: Sequence[LayerBlob], kind: str) -> bytes:
    if len(blobs) > MOST_LAYERS:
        raise SourceError(
            f"a cache of {len(blobs)} layers does not fit into one manifest", hint="write fewer with mode=min"
        )
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": kind + _JSON, "digest": document.digest, "size": document.size},
        "layers": [{"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size} for blob in blobs],
    }
    if annotations:
        value["annotations"] = annotations
    return ascii_dump(value)


def load(manifest: bytes, blob: Callable[[str], bytes], kind: str = ARTIFACT_TYPE) -> Artifact:
    """The artifact with a manifest; `blob` gives what has a digest. Raises `Malformed` where it is none of that kind,
    `DigestMismatch` for another document than the manifest names, and what `blob` raises.
    """
    from buildkit_py.registry.pull import checked

    base, annotations = _parse(manifest, kind)
    plain = unpack(checked(base, blob(base.digest), LARGEST, "cache document"))
    return Artifact(manifest, base, plain, _bytes(annotations.get(PATCH, "")), annotations.get(SIGNATURE, ""))


def _parse(data: bytes, kind: str) -> tuple[Descriptor, dict[str, str]]:
    """Which document a manifest names, and its annotations."""
    what = "cache's manifest"
    value = strict_json.parse_object(data, limit=MAX_MANIFEST, what=what)
    config = strict_json.mapping(value, "config", what) or {}
    if strict_json.text(config, "mediaType", what) != kind + _JSON:
        raise Malformed("what is there is no cache of pybuild", hint="name another place; an image is no cache")
    digest = strict_json.text(config, "digest", what)
    size = strict_json.integer(config, "size", what, None)
    if not is_sha256(digest) or not 0 <= size <= LARGEST:
        raise Malformed(f"the {what} names no document that can be read")
    return Descriptor(kind + _JSON, digest, size), dict(strict_json.text_pairs(value, "annotations", what))


def _bytes(text: str) -> bytes:
    from binascii import a2b_base64

    try:
        return a2b_base64(text, strict_mode=True) if text else b""
    except ValueError as problem:
        raise Malformed(f"the annotation {PATCH} of the cache is no base64") from problem


def blobs_of(data: bytes) -> frozenset[str]:
    """The digests of all blobs that a manifest names. Raises `Malformed`."""
    what = "manifest"
    value = strict_json.parse_object(data, limit=MAX_MANIFEST, what=what)
    named = [strict_json.mapping(value, "config", what) or {}]
    named += strict_json.objects(value, "layers", what) + strict_json.objects(value, "manifests", what)
    return frozenset(strict_json.text(one, "digest", what) for one in named)
