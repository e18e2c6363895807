"""The cache document: which steps gave which layers, as one JSON text that travels between machines.

A *portable cache* is such a document and the blobs of the layers that it
names. Its form is in `docs/reference/portable-cache.md`. It is written by
another machine, so reading trusts nothing: every field has its type, every
digest its form, every layer that a record names is described, and a snapshot
is named by what it is made of.
"""

from __future__ import annotations

from buildkit_py.digest import is_hex, is_sha256, key_of
from buildkit_py.image import strict_json
from buildkit_py.image.manifest import layer_compression
from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable.artifact import LARGEST
from buildkit_py.record import Record
from buildkit_py.store.layers import LayerBlob
from buildkit_py.store.records import StepRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = "pybuild-cache-1"

_WHAT = "cache document"
# What a record's parts may be nested; ours are four deep.
_DEEPEST = 32


class CachedLayer(Record):
    """A layer of the cache: what `LayerMeta` says of it, and its blob, packed as `variant`."""

    id: str
    content: str
    empty: bool
    entries: int
    size: int
    created: int
    variant: str
    blob: LayerBlob


class CachedStep(Record):
    """A record of the cache. `base` is the snapshot below the layer that the step made."""

    record: StepRecord
    base: str


class CacheDocument(Record):
    """All that a portable cache says. `layers` has each layer that a step names.

    `complete`: with a step, those that it takes files from are there, too (`mode=max`).
    """

    steps: tuple[CachedStep, ...]
    layers: tuple[CachedLayer, ...]
    complete: bool = True


def dump(document: CacheDocument) -> bytes:
    """The JSON of a document; equal documents have equal bytes."""
    import json

    value = {
        "format": FORMAT,
        "complete": document.complete,
        "layers": {layer.id: _plain_layer(layer) for layer in document.layers},
        "steps": [_plain_step(step) for step in document.steps],
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def load(data: bytes) -> CacheDocument:
    """The document in some bytes. Raises `Malformed` where it is none, or of another version."""
    value = strict_json.parse_object(data, limit=LARGEST, what=_WHAT)
    found = strict_json.text(value, "format", _WHAT)
    if found != FORMAT:
        raise Malformed(
            f"the cache document has the format `{found[:40]}`, and this pybuild reads {FORMAT}",
            hint="write the cache anew with this pybuild (--cache-to)",
        )
    plain = strict_json.mapping(value, "layers", _WHAT) or {}
    layers = {id: _layer(id, one) for id, one in plain.items()}
    steps = tuple(_step(one) for one in strict_json.objects(value, "steps", _WHAT))
    for step in steps:
        if step.record.layer not in layers:
            raise Malformed("a step of the cache document names a layer that is not in it")
    return CacheDocument(steps, tuple(layers.values()), strict_json.boolean(value, "complete", _WHAT))


# -- layers


def _plain_layer(layer: CachedLayer) -> dict[str, Any]:
    blob = layer.blob
    return {
        "content": layer.content,
        "empty": layer.empty,
        "entries": layer.entries,
        "size": layer.size,
        "created": layer.created,
        "variant": layer.variant,
        "diffId": blob.diff_id,
        "digest": blob.digest,
        "blobSize": blob.size,
        "mediaType": blob.media_type,
    }


def _layer(id: str, value: object) -> CachedLayer:
    what = "layer of the cache document"
    if not is_hex(id) or not isinstance(value, dict):
        raise Malformed(f"a {what} is none")
    blob = LayerBlob(
        _sha256(value, "diffId", what),
        _sha256(value, "digest", what),
        _count(value, "blobSize", what),
        strict_json.text(value, "mediaType", what),
    )
    if not layer_compression(blob.media_type):
        raise Malformed(f"`mediaType` of a {what} is not that of a layer")
    variant = strict_json.text(value, "variant", what)
    if not variant or not variant.replace("-", "").isalnum() or not variant.isascii() or len(variant) > 64:
        raise Malformed(f"`variant` of a {what} is none")
    return CachedLayer(
        id,
        _hex(value, "content", what),
        strict_json.boolean(value, "empty", what),
        _count(value, "entries", what),
        _count(value, "size", what),
        _count(value, "created", what),
        variant,
        blob,
    )


# -- steps


def _plain_step(step: CachedStep) -> dict[str, Any]:
    record = step.record
    return {
        "kind": record.kind,
        "name": record.name,
        "base": step.base,
        "sources": record.sources,
        "layer": record.layer,
        "text": record.text,
        "definition": record.definition,
        "contentKey": record.content,
        "parts": _plain(record.parts),
        "milliseconds": record.milliseconds,
        "bytes": record.bytes,
        "created": record.created,
        "tool": record.tool,
    }


def _step(value: dict[str, Any]) -> CachedStep:
    what = "step of the cache document"
    base = _hex(value, "base", what, empty=True)
    layer = _hex(value, "layer", what)
    parts = _parts(value.get("parts"), 0)
    # The solver and `why` take them apart without looking.
    if (
        not isinstance(parts, tuple)
        or not all(isinstance(part, tuple) and part for part in parts)
        or not parts
        or parts[0][0] != "op"
        or len(parts[0]) != 2
        or not isinstance(parts[0][1], tuple)
        or not parts[0][1]
    ):
        raise Malformed(f"`parts` of a {what} are none")
    definition = _hex(value, "definition", what)
    record = StepRecord(
        key=definition,
        kind=strict_json.text(value, "kind", what),
        snapshot=key_of("snapshot", base, layer),
        layer=layer,
        text=strict_json.text(value, "text", what),
        definition=definition,
        content=_hex(value, "contentKey", what, empty=True),
        parts=parts,
        name=strict_json.text(value, "name", what),
        milliseconds=_count(value, "milliseconds", what),
        bytes=_count(value, "bytes", what),
        created=_count(value, "created", what),
        tool=strict_json.text(value, "tool", what),
        sources=_hex(value, "sources", what, empty=True),
    )
    return CachedStep(record, base)


def _plain(value: Any) -> Any:
    """JSON has no bytes: they become an object of one field. Texts that are no UTF-8 keep their surrogates."""
    if isinstance(value, bytes):
        import base64

        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _parts(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise Malformed("`parts` of a step of the cache document are nested too deeply")
    if isinstance(value, list):
        return tuple(_parts(item, depth + 1) for item in value)
    if isinstance(value, dict):
        import base64

        text = value.get("base64")
        try:
            if len(value) != 1 or not isinstance(text, str):
                raise ValueError("another object")
            return base64.b64decode(text, validate=True)
        except ValueError as problem:
            raise Malformed("`parts` of a step of the cache document have an object that is no bytes") from problem
    if value is None or isinstance(value, bool | int | str):
        return value
    raise Malformed("`parts` of a step of the cache document have a value that no key is made of")


# -- fields


def _hex(value: dict[str, Any], key: str, what: str, *, empty: bool = False) -> str:
    found = strict_json.text(value, key, what)
    if not is_hex(found) and not (empty and found == ""):
        raise Malformed(f"`{key}` of a {what} is no BLAKE3 in hex")
    return found


def _sha256(value: dict[str, Any], key: str, what: str) -> str:
    found = strict_json.text(value, key, what)
    if not is_sha256(found):
        raise Malformed(f"`{key}` of a {what} is no sha256 digest")
    return found


def _count(value: dict[str, Any], key: str, what: str) -> int:
    found = strict_json.integer(value, key, what)
    if not 0 <= found < 1 << 63:
        raise Malformed(f"`{key}` of a {what} is out of range")
    return found
