"""The cache document: which steps gave which layers, as one JSON text that travels between machines.

A *portable cache* is such a document and the blobs of the layers that it
names. Its form is in `docs/reference/portable-cache.md`. It is written by
another machine, so reading trusts nothing: every field has its type, every
digest its form, every layer that a record names is described, and a snapshot
is named by what it is made of.
"""

from __future__ import annotations

from buildkit_py.digest import digest_of, is_hex, is_sha256, key_of, sha256
from buildkit_py.errors import SourceError
from buildkit_py.image import strict_json
from buildkit_py.image.manifest import layer_compression
from buildkit_py.image.strict_json import Malformed
from buildkit_py.json_text import ascii_dump
from buildkit_py.portable.artifact import LARGEST
from buildkit_py.record import Record
from buildkit_py.store.layers import LayerBlob
from buildkit_py.store.records import ELSEWHERE, StepRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    # Reads the field of that name out of an object, which is one of `what`.
    Reader: TypeAlias = Callable[[dict[str, Any], str, str], Any]

FORMAT = "pybuild-cache-2"
# What had no layers' data in it, and is in all else the same; what signatures are over has that name still.
_FIRST_FORMAT = "pybuild-cache-1"
# A blob of no more bytes stands in the document: to be fetched, and named in the manifest, would cost as many again.
SMALL = 1 << 10
# And not if it is long when unpacked, as one of zeros is: to read the document takes a digest of each.
_LARGEST_TAR = 1 << 20

_WHAT = "cache document"
_STEP = "step of the cache document"
_LAYER = "layer of the cache document"
# What a record's parts may be nested; ours are four deep.
_DEEPEST = 32
_LONGEST_VARIANT = 64


class CachedLayer(Record):
    """A layer of the cache: what `LayerMeta` says of it, and its blob, packed as `variant`.

    `data` are the bytes of a small blob, b"" of one that is a blob of its own in the cache.
    """

    id: str
    content: str
    empty: bool
    entries: int
    size: int
    created: int
    variant: str
    blob: LayerBlob
    data: bytes = b""


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


def only(document: CacheDocument, steps: Sequence[CachedStep]) -> CacheDocument:
    """The document with these of its steps, and the layers that they name."""
    named = {step.record.layer for step in steps}
    layers = tuple(layer for layer in document.layers if layer.id in named)
    # Some of them may take files from one that is not there any more.
    is_complete = document.complete and len(steps) in (0, len(document.steps))
    return CacheDocument(tuple(steps), layers, is_complete)


def dump(document: CacheDocument) -> bytes:
    """The JSON of a document; equal documents have equal bytes."""
    value = {
        "format": FORMAT,
        "complete": document.complete,
        "layers": {layer.id: _written_layer(layer) for layer in document.layers},
        "steps": [{**_plain_step(step), "signature": _signature(step)} for step in document.steps],
    }
    return _bytes(value)


def claim(step: CachedStep, layer: CachedLayer) -> bytes:
    """What the signature of a record is over: all that it says, and all that is said of its layer."""
    value = {"format": _FIRST_FORMAT, "step": _plain_step(step), "layer": {"id": layer.id, **_plain_layer(layer)}}
    return _bytes(value)


def _bytes(value: dict[str, Any]) -> bytes:
    return ascii_dump(value, is_sorted=True) + b"\n"


def load(data: bytes) -> CacheDocument:
    """The document in some bytes. Raises `Malformed` where it is none, or of another version."""
    value = strict_json.parse_object(data, limit=LARGEST, what=_WHAT)
    found = strict_json.text(value, "format", _WHAT)
    if found not in (FORMAT, _FIRST_FORMAT):
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
    return {
        **{key: getattr(layer, name) for key, (name, _) in _LAYER_FIELDS.items()},
        **{key: getattr(layer.blob, name) for key, (name, _) in _BLOB_FIELDS.items()},
    }


def _written_layer(layer: CachedLayer) -> dict[str, Any]:
    """A layer as the document has it: what its data says is not said again."""
    plain = _plain_layer(layer)
    if layer.data:
        plain = {key: value for key, value in plain.items() if key not in _BLOB_FIELDS}
        plain.update(data=_base64(layer.data), mediaType=layer.blob.media_type)
    return plain


def _layer(id: str, value: object) -> CachedLayer:
    if not is_hex(id) or not isinstance(value, dict):
        raise Malformed(f"a {_LAYER} is none")
    text = strict_json.text(value, "data", _LAYER)
    data = _from_base64(text, f"`data` of a {_LAYER}") if text else b""
    if data:
        blob = described(data, _media_type(value, "mediaType", _LAYER))
    else:
        blob = LayerBlob(**_read(_BLOB_FIELDS, value, _LAYER))
    return CachedLayer(id=id, blob=blob, data=data, **_read(_LAYER_FIELDS, value, _LAYER))


def described(data: bytes, media_type: str) -> LayerBlob:
    """What is said of a small blob of which these are the bytes. Raises `Malformed` for one that is not small."""
    from io import BytesIO

    from buildkit_py.image.compress import decompress, kind_of

    if len(data) > SMALL:
        raise Malformed(f"`data` of a {_LAYER} has {len(data)} bytes, more than {SMALL}")
    hasher, total = sha256(len(data)), 0
    try:
        for piece in decompress(BytesIO(data).read, kind_of(media_type, data[:6])):
            hasher.update(piece)
            total += len(piece)
            if total > _LARGEST_TAR:
                raise Malformed(f"`data` of a {_LAYER} is a tar of more than {_LARGEST_TAR >> 20} MiB")
    except SourceError as problem:
        raise Malformed(f"`data` of a {_LAYER} cannot be read: {problem.message}") from problem
    return LayerBlob(f"sha256:{hasher.hexdigest()}", digest_of(data), len(data), media_type)


# -- steps


def _plain_step(step: CachedStep) -> dict[str, Any]:
    plain = {key: getattr(step.record, name) for key, (name, _) in _STEP_FIELDS.items()}
    return {**plain, "base": step.base, "parts": _plain(step.record.parts)}


def _signature(step: CachedStep) -> str:
    return "" if step.record.signature == ELSEWHERE else step.record.signature


def _step(value: dict[str, Any]) -> CachedStep:
    base = _hex_or_none(value, "base", _STEP)
    fields = _read(_STEP_FIELDS, value, _STEP)
    record = StepRecord(
        key=fields["definition"],
        snapshot=key_of("snapshot", base, fields["layer"]),
        signature=strict_json.text(value, "signature", _STEP) or ELSEWHERE,
        **fields,
    )
    return CachedStep(record, base)


def _plain(value: Any) -> Any:
    """JSON has no bytes: they become an object of one field. Texts that are no UTF-8 keep their surrogates."""
    if isinstance(value, bytes):
        return {"base64": _base64(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _parts(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise Malformed(f"`parts` of a {_STEP} are nested too deeply")
    if isinstance(value, list):
        return tuple(_parts(item, depth + 1) for item in value)
    if isinstance(value, dict):
        text = value.get("base64")
        if len(value) != 1 or not isinstance(text, str):
            raise Malformed(f"`parts` of a {_STEP} have an object that is no bytes")
        return _from_base64(text, f"an object in `parts` of a {_STEP}")
    if value is None or isinstance(value, bool | int | str):
        return value
    raise Malformed(f"`parts` of a {_STEP} have a value that no key is made of")


def _base64(data: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).decode("ascii")


def _from_base64(text: str, what: str) -> bytes:
    from binascii import a2b_base64

    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError as problem:
        raise Malformed(f"{what} is no base64") from problem


def _parts_of_keys(value: dict[str, Any], key: str, what: str) -> Any:
    parts = _parts(value.get(key), 0)
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
        raise Malformed(f"`{key}` of a {what} are none")
    return parts


# -- fields


def _read(fields: dict[str, tuple[str, Reader]], value: dict[str, Any], what: str) -> dict[str, Any]:
    return {name: read(value, key, what) for key, (name, read) in fields.items()}


def _hex(value: dict[str, Any], key: str, what: str) -> str:
    found = strict_json.text(value, key, what)
    if not is_hex(found):
        raise Malformed(f"`{key}` of a {what} is no BLAKE3 in hex")
    return found


def _hex_or_none(value: dict[str, Any], key: str, what: str) -> str:
    return _hex(value, key, what) if strict_json.text(value, key, what) else ""


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


def _media_type(value: dict[str, Any], key: str, what: str) -> str:
    found = strict_json.text(value, key, what)
    if not layer_compression(found):
        raise Malformed(f"`{key}` of a {what} is not that of a layer")
    return found


def _variant(value: dict[str, Any], key: str, what: str) -> str:
    found = strict_json.text(value, key, what)
    plain = found.replace("-", "")
    if not (plain.isalnum() and plain.isascii()) or len(found) > _LONGEST_VARIANT:
        raise Malformed(f"`{key}` of a {what} is none")
    return found


# By its name in JSON: the field of the record, and what reads it.
_LAYER_FIELDS: dict[str, tuple[str, Reader]] = {
    "content": ("content", _hex),
    "empty": ("empty", strict_json.boolean),
    "entries": ("entries", _count),
    "size": ("size", _count),
    "created": ("created", _count),
    "variant": ("variant", _variant),
}
_BLOB_FIELDS: dict[str, tuple[str, Reader]] = {
    "diffId": ("diff_id", _sha256),
    "digest": ("digest", _sha256),
    "blobSize": ("size", _count),
    "mediaType": ("media_type", _media_type),
}
_STEP_FIELDS: dict[str, tuple[str, Reader]] = {
    "kind": ("kind", strict_json.text),
    "name": ("name", strict_json.text),
    "sources": ("sources", _hex_or_none),
    "layer": ("layer", _hex),
    "text": ("text", strict_json.text),
    "definition": ("definition", _hex),
    "contentKey": ("content", _hex_or_none),
    "parts": ("parts", _parts_of_keys),
    "milliseconds": ("milliseconds", _count),
    "bytes": ("bytes", _count),
    "created": ("created", _count),
    "tool": ("tool", strict_json.text),
    "maker": ("maker", strict_json.text),
}
