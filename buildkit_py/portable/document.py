"""The cache document: which steps gave which layers, as one JSON text that travels between machines.

A *portable cache* is such a document and the blobs of the layers that it
names. Its form is in `docs/reference/portable-cache.md`. It is written by
another machine, so reading trusts nothing: every field has its type, every
digest its form, every layer that a record names is described. What follows
from the rest is not in it (`follow.py`).
"""

from __future__ import annotations

from buildkit_py.digest import digest_of, is_hex, is_sha256, key_of, sha256
from buildkit_py.errors import SourceError
from buildkit_py.graph import step_key
from buildkit_py.image import strict_json
from buildkit_py.image.manifest import layer_compression
from buildkit_py.image.strict_json import Malformed
from buildkit_py.json_text import ascii_dump
from buildkit_py.portable.artifact import LARGEST
from buildkit_py.portable.follow import Before, Ground
from buildkit_py.record import Record
from buildkit_py.store.chain import layer_id
from buildkit_py.store.layers import LayerBlob
from buildkit_py.store.records import ELSEWHERE, StepRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    # Reads the field of that name out of an object, which is one of `what`.
    Reader: TypeAlias = Callable[[dict[str, Any], str, str], Any]

FORMAT = "pybuild-cache-3"
# What signatures are over says everything, and has the name of the first format, which did, too.
_CLAIM = "pybuild-cache-1"
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
_LATEST = (1 << 33) - 1  # seconds since 1970


class CachedLayer(Record):
    """A layer of the cache: what `LayerMeta` says of it, and its blob, packed as `variant`.

    `data` are the bytes of a small blob, b"" of one that is a blob of its own in the cache. `times` as in `LayerMeta`.
    `over` is the content of the filesystem that its name comes from, where that is another one than the step stands on.
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
    times: str = ""
    over: str = ""


class CachedStep(Record):
    """A record of the cache. `base` is the snapshot below the layer that the step made, `base_content` its content
    digest ("" where that is not known).

    Its `parts` are those of its definition key, and no more.
    """

    record: StepRecord
    base: str
    base_content: str = ""


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
    layers = {layer.id: layer for layer in document.layers}
    before = Before()
    steps = []
    for step in document.steps:
        layer = layers[step.record.layer]
        steps.append(_written_step(step, layer, before))
        before.add(step, layer)
    return _bytes({"format": FORMAT, "keys": step_key.FORMAT, "complete": document.complete, "steps": steps})


def claim(step: CachedStep, layer: CachedLayer) -> bytes:
    """What the signature of a record is over: all that it says, and all that is said of its layer."""
    value = {"format": _CLAIM, "step": _plain_step(step), "layer": {"id": layer.id, **_plain_layer(layer)}}
    return _bytes(value)


def _bytes(value: dict[str, Any]) -> bytes:
    return ascii_dump(value, is_sorted=True) + b"\n"


def load(data: bytes) -> CacheDocument:
    """The document in some bytes. Raises `Malformed` where it is none, or of another version."""
    value = strict_json.parse_object(data, limit=LARGEST, what=_WHAT)
    found = strict_json.text(value, "format", _WHAT)
    anew = "write the cache anew with this pybuild (--cache-to)"
    if found != FORMAT:
        raise Malformed(f"the cache document has the format `{found[:40]}`, and this pybuild reads {FORMAT}", hint=anew)
    if (keys := strict_json.integer(value, "keys", _WHAT)) != step_key.FORMAT:
        raise Malformed(
            f"the cache document has keys of format {keys}, and this pybuild's are of {step_key.FORMAT}", hint=anew
        )
    layers: dict[str, CachedLayer] = {}
    before = Before()
    steps = []
    for one in strict_json.objects(value, "steps", _WHAT):
        step = _step(one, before, layers)
        made = layers[step.record.layer]
        if is_own_name(made, step.base_content):
            steps.append(step)
        before.add(step, made)
    whole = CacheDocument(tuple(steps), tuple(layers.values()), strict_json.boolean(value, "complete", _WHAT))
    return whole if len(steps) == len(value["steps"]) else only(whole.replace(complete=False), steps)


# -- layers


def _plain_layer(layer: CachedLayer) -> dict[str, Any]:
    return {
        **{key: getattr(layer, name) for key, (name, _) in _LAYER_FIELDS.items()},
        **{key: getattr(layer.blob, name) for key, (name, _) in _BLOB_FIELDS.items()},
        **({"times": layer.times} if layer.times else {}),
    }


def _written_layer(layer: CachedLayer, ground: Ground) -> dict[str, Any]:
    """A layer as the document has it: what its data says is not said again, nor a name that follows."""
    plain = _plain_layer(layer)
    if layer.id != _layer_id(layer.content, ground, layer.times):
        plain["id"] = layer.id  # of a linked COPY, or a Run with `--inputs`
        if layer.over:
            plain["over"] = layer.over
    if layer.data:
        plain = {key: value for key, value in plain.items() if key not in _BLOB_FIELDS}
        plain.update(data=_base64(layer.data), mediaType=layer.blob.media_type)
    return plain


def _layer_id(content: str, ground: Ground, times: str) -> str:
    """The name of a layer of that content over a filesystem; "" where it does not follow."""
    return layer_id(ground.content, content, times) if ground.is_known else ""


def is_own_name(layer: CachedLayer, base_content: str) -> bool:
    """Whether a layer is called what one is that was built on a filesystem of that content, on none (a linked COPY), or
    on the one that it names.

    Layers of images have the digests of their tars for names. Another machine's must not be able to have such a name:
    it would be taken for that image's, by builds that have nothing to do with the cache.
    """
    return layer.id in [layer_id(content, layer.content, layer.times) for content in (base_content, "", layer.over)]


def _layer(value: dict[str, Any], ground: Ground) -> CachedLayer:
    fields = _read(_LAYER_FIELDS, value, _LAYER)
    times = _hex_or_none(value, "times", _LAYER)
    id = strict_json.text(value, "id", _LAYER) or _layer_id(fields["content"], ground, times)
    if not is_hex(id):
        raise Malformed(f"`id` of a {_LAYER} is no BLAKE3 in hex")
    text = strict_json.text(value, "data", _LAYER)
    data = _from_base64(text, f"`data` of a {_LAYER}") if text else b""
    if data:
        blob = described(data, _media_type(value, "mediaType", _LAYER))
    else:
        blob = LayerBlob(**_read(_BLOB_FIELDS, value, _LAYER))
    over = _hex_or_none(value, "over", _LAYER)
    return CachedLayer(id=id, blob=blob, data=data, times=times, over=over, **fields)


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
    """All that a step says, for its signature."""
    record = step.record
    return {
        **{key: getattr(record, name) for key, (name, _) in _SAID_FIELDS.items()},
        "kind": record.kind,
        "sources": record.sources,
        "layer": record.layer,
        "text": record.text,
        "definition": record.definition,
        "contentKey": record.content,
        "base": step.base,
        "parts": _plain(record.parts),
        **({"owners": record.owners} if record.owners else {}),
    }


def _signature(step: CachedStep) -> str:
    return "" if step.record.signature == ELSEWHERE else step.record.signature


def _written_step(step: CachedStep, layer: CachedLayer, before: Before) -> dict[str, Any]:
    """A step as the document has it, behind those before it."""
    record = step.record
    (_, op), (_, base, below), (_, sources) = record.parts
    ground = Ground(base, step.base, step.base_content)
    value = {key: getattr(record, name) for key, (name, _) in _SAID_FIELDS.items()}
    value["op"] = _plain(op)
    value["on"] = before.distance(ground) or list(ground.values())
    value["sources"] = [[kind, (before.distance_of_key(key) if kind == "step" else 0) or key] for kind, key in sources]
    value["layer"] = before.distance_of_layer(layer.id) or _written_layer(layer, ground)
    if below != step.base:
        value["below"] = below
    if record.content != before.content_key(op, ground, sources):
        value["contentKey"] = record.content
    if record.sources != before.read_key(sources):
        value["reads"] = record.sources
    rare = (("text", record.text), ("owners", record.owners), ("signature", _signature(step)))
    value.update({key: text for key, text in rare if text})
    return value


def _step(value: dict[str, Any], before: Before, layers: dict[str, CachedLayer]) -> CachedStep:
    """The step that is written so, whose layer is in `layers` then."""
    op = _op(value)
    ground = _ground(value, before)
    sources = _sources(value, before)
    said = value.get("layer")
    if isinstance(said, dict):
        layer = _layer(said, ground)
        if layers.setdefault(layer.id, layer) is not layer:
            raise Malformed("the cache document describes a layer twice")
    else:
        layer = layers[before.layer(_count(value, "layer", _STEP))]
    below = _hex_or_none(value, "below", _STEP) if "below" in value else ground.snapshot
    definition = step_key.definition_key(op, ground.definition, sources)
    record = StepRecord(
        key=definition,
        kind=op[0],
        snapshot=key_of("snapshot", ground.snapshot, layer.id),
        layer=layer.id,
        text=strict_json.text(value, "text", _STEP),
        definition=definition,
        content=_either(value, "contentKey", before.content_key(op, ground, sources)),
        parts=(("op", op), ("base", ground.definition, below), ("sources", sources)),
        sources=_either(value, "reads", before.read_key(sources)),
        signature=strict_json.text(value, "signature", _STEP) or ELSEWHERE,
        owners=strict_json.text(value, "owners", _STEP),
        **_read(_SAID_FIELDS, value, _STEP),
    )
    return CachedStep(record, ground.snapshot, ground.content)


def _op(value: dict[str, Any]) -> tuple[Any, ...]:
    op = _parts(value.get("op"), 0)
    # The solver and `why` take it apart without looking.
    if not isinstance(op, tuple) or not op or not isinstance(op[0], str):
        raise Malformed(f"`op` of a {_STEP} is none")
    return op


def _ground(value: dict[str, Any], before: Before) -> Ground:
    said = value.get("on")
    if not isinstance(said, list):
        return before.result(_count(value, "on", _STEP))
    if len(said) != 3 or not all(isinstance(one, str) and (is_hex(one) or not one) for one in said):
        raise Malformed(f"`on` of a {_STEP} names no filesystem")
    return Ground(*said)


def _sources(value: dict[str, Any], before: Before) -> tuple[tuple[str, str], ...]:
    said = value.get("sources")
    if not isinstance(said, list):
        raise Malformed(f"`sources` of a {_STEP} is not a list")
    found = []
    for one in said:
        kind, key = one if isinstance(one, list) and len(one) == 2 else ("", "")
        if kind == "step" and isinstance(key, int) and not isinstance(key, bool):
            key = before.result(key).definition
        if kind not in ("step", "content") or not isinstance(key, str) or not is_hex(key):
            raise Malformed(f"`sources` of a {_STEP} has one that is none")
        found.append((kind, key))
    return tuple(found)


def _either(value: dict[str, Any], key: str, follows: str) -> str:
    """A key that a step says, "" for none; what follows where it says nothing."""
    return _hex_or_none(value, key, _STEP) if key in value else follows


def _plain(value: Any) -> Any:
    """JSON has no bytes: they become an object of one field. Texts that are no UTF-8 keep their surrogates."""
    if isinstance(value, bytes):
        return {"base64": _base64(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _parts(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise Malformed(f"`op` of a {_STEP} is nested too deeply")
    if isinstance(value, list):
        return tuple(_parts(item, depth + 1) for item in value)
    if isinstance(value, dict):
        text = value.get("base64")
        if len(value) != 1 or not isinstance(text, str):
            raise Malformed(f"`op` of a {_STEP} has an object that is no bytes")
        return _from_base64(text, f"an object in `op` of a {_STEP}")
    if value is None or isinstance(value, bool | int | str):
        return value
    raise Malformed(f"`op` of a {_STEP} has a value that no key is made of")


def _base64(data: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).decode("ascii")


def _from_base64(text: str, what: str) -> bytes:
    from binascii import a2b_base64

    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError as problem:
        raise Malformed(f"{what} is no base64") from problem


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


def _time(value: dict[str, Any], key: str, what: str) -> int:
    """Seconds since 1970, so many as a calendar has a date for."""
    found = _count(value, key, what)
    if found > _LATEST:
        raise Malformed(f"`{key}` of a {what} is at no time")
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
    "created": ("created", _time),
    "variant": ("variant", _variant),
}
_BLOB_FIELDS: dict[str, tuple[str, Reader]] = {
    "diffId": ("diff_id", _sha256),
    "digest": ("digest", _sha256),
    "blobSize": ("size", _count),
    "mediaType": ("media_type", _media_type),
}
# Of a step: what does not follow from the rest.
_SAID_FIELDS: dict[str, tuple[str, Reader]] = {
    "name": ("name", strict_json.text),
    "milliseconds": ("milliseconds", _count),
    "bytes": ("bytes", _count),
    "created": ("created", _time),
    "tool": ("tool", strict_json.text),
    "maker": ("maker", strict_json.text),
}
