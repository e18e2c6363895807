"""The cache document: what is written is read back, and nothing that breaks a rule is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from zstandard import ZstdCompressor

from buildkit_py.digest import digest_of, key_of
from buildkit_py.image.compress import MEDIA_TYPES, compressor
from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable.document import SMALL, CachedLayer, CacheDocument, CachedStep, claim, dump, load, only
from buildkit_py.store.layers import LayerBlob
from buildkit_py.store.records import StepRecord

LAYER, CONTENT, KEY, BASE = (key_of(name) for name in ("layer", "content", "key", "base"))
DIGEST = "sha256:" + "a" * 64
PARTS = (("op", ("run", ("sh", "-c", "x"), b"\0\xff", None, True, 7, "\udcff")), ("base", "", BASE), ("sources", ()))


def document() -> CacheDocument:
    record = StepRecord(
        key=KEY,
        kind="run",
        snapshot=key_of("snapshot", BASE, LAYER),
        layer=LAYER,
        text="out",
        definition=KEY,
        content=CONTENT,
        parts=PARTS,
        name="[app 1/1] RUN x",
        milliseconds=12,
        bytes=34,
        created=1_700_000_000,
        tool="pybuild",
        sources=CONTENT,
        maker="builder.example",
        signature="hmac-sha256:0:1",
    )
    blob = LayerBlob(DIGEST, DIGEST, 99, "application/vnd.oci.image.layer.v1.tar+zstd")
    layer = CachedLayer(LAYER, CONTENT, False, 3, 1000, 1_700_000_000, "zstd-e0", blob)
    return CacheDocument((CachedStep(record, BASE),), (layer,))


def test_what_was_written_is_read_back() -> None:
    assert load(dump(document())) == document()


def test_equal_documents_have_equal_bytes() -> None:
    assert dump(load(dump(document()))) == dump(document())


def test_some_of_the_steps_have_their_layers_and_are_not_complete() -> None:
    one = document()
    other = CachedStep(one.steps[0].record.replace(layer=CONTENT, definition=BASE), BASE)
    both = CacheDocument((*one.steps, other), (*one.layers, one.layers[0].replace(id=CONTENT)))
    assert only(both, both.steps) == both
    assert only(both, one.steps) == one.replace(complete=False)
    assert only(both, ()) == CacheDocument((), ())  # no step that takes files from another
    assert only(both.replace(complete=False), both.steps).complete is False


def step(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value["steps"][0]
    return found


def layer(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value["layers"][LAYER]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(format="pybuild-cache-0"),
        lambda value: value.update(layers=[]),
        lambda value: value.update(layers={}),
        lambda value: value.update(steps={}),
        lambda value: value["layers"].update({"x": layer(value)}),
        lambda value: value["layers"].update({"../" * 21 + "x": layer(value)}),
        lambda value: value["layers"].update({LAYER: []}),
        lambda value: layer(value).update(content="A" * 64),
        lambda value: layer(value).update(digest="md5:0"),
        lambda value: layer(value).update(diffId=""),
        lambda value: layer(value).update(blobSize=-1),
        lambda value: layer(value).update(size=1 << 63),
        lambda value: layer(value).update(entries="3"),
        lambda value: layer(value).update(empty=1),
        lambda value: layer(value).update(variant="../x"),
        lambda value: layer(value).update(variant=""),
        lambda value: layer(value).update(mediaType="text/plain"),
        lambda value: step(value).update(layer=BASE),
        lambda value: step(value).update(base="x"),
        lambda value: step(value).update(definition=""),
        lambda value: step(value).update(sources="x"),
        lambda value: step(value).update(contentKey="x"),
        lambda value: step(value).update(created=True),
        lambda value: step(value).update(parts=None),
        lambda value: step(value).update(parts=[]),
        lambda value: step(value).update(parts=[[]]),
        lambda value: step(value).update(parts=[["op", []]]),
        lambda value: step(value).update(parts=[["base", ["run"]]]),
        lambda value: step(value).update(parts=[["op", ["run", 1.5]]]),
        lambda value: step(value).update(parts=[["op", ["run", {"base64": "!"}]]]),
        lambda value: step(value).update(parts=[["op", ["run", {"bytes": "AA=="}]]]),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(dump(document()))
    change(value)
    with pytest.raises(Malformed):
        load(json.dumps(value).encode())


def test_a_nest_without_end_is_refused() -> None:
    value = json.loads(dump(document()))
    deep: list[Any] = ["run"]
    for _ in range(100):
        deep = [deep]
    step(value)["parts"] = [["op", deep]]
    with pytest.raises(Malformed):
        load(json.dumps(value).encode())
    with pytest.raises(Malformed):
        load(b'{"format":"pybuild-cache-1","steps":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"null", b'{"format":1}'])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        load(data)


def test_the_snapshot_is_named_by_what_it_is_made_of() -> None:
    """A document cannot say that a layer lies on another filesystem than the one it names."""
    value = json.loads(dump(document()))
    step(value)["snapshot"] = key_of("another")
    assert load(json.dumps(value).encode()).steps[0].record.snapshot == key_of("snapshot", BASE, LAYER)


# -- layers whose bytes are in the document


def with_data(plain: bytes = b"a tar", kind: str = "zstd") -> CacheDocument:
    stream = compressor(kind)
    data = stream.compress(plain) + stream.flush()
    found = document()
    blob = LayerBlob(digest_of(plain), digest_of(data), len(data), MEDIA_TYPES[kind])
    return found.replace(layers=(found.layers[0].replace(blob=blob, data=data),))


@pytest.mark.parametrize("kind", ["zstd", "gzip", "none"])
def test_small_layers_are_in_the_document_and_described_by_their_bytes(kind: str) -> None:
    found = with_data(kind=kind)
    assert load(dump(found)) == found
    assert not {"digest", "diffId", "blobSize"} & layer(json.loads(dump(found))).keys()


def test_what_is_signed_is_the_same_wherever_the_bytes_are() -> None:
    found = with_data()
    apart = found.layers[0].replace(data=b"")
    assert claim(found.steps[0], found.layers[0]) == claim(found.steps[0], apart)


@pytest.mark.parametrize(
    "data",
    [
        "no base64!",
        base64.b64encode(bytes(SMALL + 1)).decode(),
        base64.b64encode(b"\x28\xb5\x2f\xfdno frame").decode(),
        base64.b64encode(ZstdCompressor(level=19).compress(bytes(16 << 20))).decode(),
        7,
    ],
    ids=["no base64", "long", "damaged", "bomb", "number"],
)
def test_bytes_that_are_no_small_layer_are_refused(data: object) -> None:
    value = json.loads(dump(with_data()))
    layer(value)["data"] = data
    with pytest.raises(Malformed):
        load(json.dumps(value).encode())


def test_documents_of_the_first_format_are_read() -> None:
    value = json.loads(dump(document()))
    assert load(json.dumps({**value, "format": "pybuild-cache-1"}).encode()) == document()
