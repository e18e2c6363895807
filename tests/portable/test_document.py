"""The cache document: what is written is read back, and nothing that breaks a rule is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from zstandard import ZstdCompressor

from buildkit_py.digest import digest_of, key_of
from buildkit_py.graph.step_key import FORMAT, content_key, definition_key, read_key
from buildkit_py.image.compress import MEDIA_TYPES, compressor
from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable.document import SMALL, CachedLayer, CacheDocument, CachedStep, claim, dump, load, only
from buildkit_py.portable.follow import Ground, defines
from buildkit_py.portable.gather import join
from buildkit_py.store.chain import chain, layer_id
from buildkit_py.store.layers import LayerBlob
from buildkit_py.store.owners import ONE_ID
from buildkit_py.store.records import ELSEWHERE, StepRecord

CONTENT, OTHER, BASE = (key_of(name) for name in ("content", "key", "base"))
LAYER = layer_id("", CONTENT)  # of a linked COPY
DIGEST = "sha256:" + "a" * 64
OP = ("run", ("sh", "-c", "x"), b"\0\xff", None, True, 7, "\udcff")


def document() -> CacheDocument:
    """Of a step whose layer, content key and name of what it reads are none that follow."""
    record = StepRecord(
        key=(definition := definition_key(OP, OTHER, ())),
        kind="run",
        snapshot=key_of("snapshot", BASE, LAYER),
        layer=LAYER,
        text="out",
        definition=definition,
        content=CONTENT,
        parts=(("op", OP), ("base", OTHER, BASE), ("sources", ())),
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


def test_that_there_was_one_id_is_said_and_signed() -> None:
    found = document()
    record = found.steps[0].record.replace(owners=ONE_ID)
    other = found.replace(steps=(found.steps[0].replace(record=record),))
    assert load(dump(other)) == other
    assert claim(other.steps[0], other.layers[0]) != claim(found.steps[0], found.layers[0])


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
    found: dict[str, Any] = value["steps"][0]["layer"]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(format="pybuild-cache-0"),
        lambda value: value.update(format="pybuild-cache-2"),
        lambda value: value.update(keys=FORMAT + 1),
        lambda value: value.update(keys=None),
        lambda value: value.update(steps={}),
        lambda value: value["steps"].append(step(value)),
        lambda value: layer(value).update(id="x"),
        lambda value: layer(value).update(id="../" * 21 + "x"),
        lambda value: layer(value).pop("id"),
        lambda value: layer(value).update(content="A" * 64),
        lambda value: layer(value).update(digest="md5:0"),
        lambda value: layer(value).update(diffId=""),
        lambda value: layer(value).update(blobSize=-1),
        lambda value: layer(value).update(size=1 << 63),
        lambda value: layer(value).update(created=1 << 33),
        lambda value: step(value).update(created=1 << 33),
        lambda value: layer(value).update(entries="3"),
        lambda value: layer(value).update(empty=1),
        lambda value: layer(value).update(variant="../x"),
        lambda value: layer(value).update(variant=""),
        lambda value: layer(value).update(mediaType="text/plain"),
        lambda value: step(value).update(layer=BASE),
        lambda value: step(value).update(layer=[]),
        lambda value: step(value).update(layer=0),
        lambda value: step(value).update(layer=1),
        lambda value: step(value).update(layer=-1),
        lambda value: step(value).pop("layer"),
        lambda value: step(value).update(on=[OTHER, "x", ""]),
        lambda value: step(value).update(on=[OTHER, BASE]),
        lambda value: step(value).update(on=[OTHER, BASE, 7]),
        lambda value: step(value).update(on=0),
        lambda value: step(value).update(on=1),
        lambda value: step(value).update(on=True),
        lambda value: step(value).update(on=OTHER),
        lambda value: step(value).update(below="x"),
        lambda value: step(value).update(reads="x"),
        lambda value: step(value).update(contentKey="x"),
        lambda value: step(value).update(created=True),
        lambda value: step(value).update(sources=None),
        lambda value: step(value).update(sources=[[]]),
        lambda value: step(value).update(sources=[["step", 0]]),
        lambda value: step(value).update(sources=[["step", 1]]),
        lambda value: step(value).update(sources=[["step", -1]]),
        lambda value: step(value).update(sources=[["step", True]]),
        lambda value: step(value).update(sources=[["content", 1]]),
        lambda value: step(value).update(sources=[["content", "x"]]),
        lambda value: step(value).update(sources=[["file", BASE]]),
        lambda value: step(value).update(op=None),
        lambda value: step(value).update(op=[]),
        lambda value: step(value).update(op="run"),
        lambda value: step(value).update(op=[["run"]]),
        lambda value: step(value).update(op=["run", 1.5]),
        lambda value: step(value).update(op=["run", "\ud800"]),
        lambda value: step(value).update(name="\ud800x"),
        lambda value: step(value).update(op=["run", {"base64": "!"}]),
        lambda value: step(value).update(op=["run", {"bytes": "AA=="}]),
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
    step(value)["op"] = ["run", deep]
    with pytest.raises(Malformed):
        load(json.dumps(value).encode())
    with pytest.raises(Malformed):
        load(b'{"format":"pybuild-cache-3","keys":1,"steps":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


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


def test_what_signatures_are_over_stays_as_it_is() -> None:
    """Else what was signed by another pybuild would be a stranger's."""
    found = document()
    wanted = "sha256:dd8e405dc7301c8fdd35c659dbcc99e476faf05a62965aab7b366a464b54ddbd"
    # Whatever it says: this layer has a name that no document may give one.
    layer = found.layers[0].replace(id=key_of("layer"))
    record = found.steps[0].record.replace(layer=layer.id, snapshot=key_of("snapshot", BASE, layer.id))
    assert digest_of(claim(found.steps[0].replace(record=record), layer)) == wanted


# -- what follows from the rest


def chain_of(*ops: tuple[Any, ...]) -> CacheDocument:
    """Steps that stand on each other, the first on an image; the last also takes files of the first, by their names."""
    steps: list[CachedStep] = []
    layers: list[CachedLayer] = []
    ground = Ground(OTHER, BASE, CONTENT)
    one = document()
    for number, op in enumerate(ops):
        content = key_of("changes", number)
        made = one.layers[0].replace(id=layer_id(ground.content, content), content=content)
        sources: tuple[tuple[str, str], ...] = (("content", key_of("taken", number)),)
        reads, digests = "", (sources[0][1],)
        if number and number == len(ops) - 1:
            sources += (("step", steps[0].record.definition),)
            digests += (chain(CONTENT, layers[0].content, False),)
            reads = read_key(("", steps[0].record.snapshot))
        record = one.steps[0].record.replace(
            key=(definition := definition_key(op, ground.definition, sources)),
            definition=definition,
            kind=op[0],
            snapshot=key_of("snapshot", ground.snapshot, made.id),
            layer=made.id,
            content=content_key(op, ground.content, digests),
            parts=(("op", op), ("base", ground.definition, ground.snapshot), ("sources", sources)),
            sources=reads,
            text="",
            signature=ELSEWHERE,
        )
        steps.append(CachedStep(record, ground.snapshot, ground.content))
        layers.append(made)
        ground = Ground(definition, record.snapshot, chain(ground.content, content, False))
    return CacheDocument(tuple(steps), tuple(layers))


def test_what_follows_is_not_said_and_comes_back() -> None:
    found = chain_of(("run", "a"), ("run", "b"), ("copy", "c"))
    data = dump(found)
    assert load(data) == found
    said = json.loads(data)["steps"]
    assert [one["on"] for one in said] == [[OTHER, BASE, CONTENT], 1, 1]
    assert [one["sources"][-1][1] for one in said[1:]] == [key_of("taken", 1), 2]
    for one, record in zip(said, (step.record for step in found.steps), strict=True):
        assert not {"contentKey", "reads", "below", "text", "signature"} & one.keys()
        assert "id" not in one["layer"]
        for name in (record.definition, record.content, record.layer, record.snapshot):
            assert name.encode() not in data


def test_what_does_not_follow_is_said() -> None:
    """Layers of a linked COPY, the content keys of one that takes few files, results without a content key."""
    found = chain_of(("run", "a"), ("run", "b"), ("run", "c"))
    first, second, last = found.steps
    linked = found.layers[1].replace(id=layer_id("", found.layers[1].content))
    second = second.replace(
        record=second.record.replace(
            layer=linked.id, snapshot=key_of("snapshot", second.base, linked.id), content=CONTENT, sources=OTHER
        )
    )
    last = last.replace(record=last.record.replace(content=""))
    other = CacheDocument((first, second, last), (found.layers[0], linked, found.layers[2]), complete=False)
    # The last one stands on the second as it was.
    assert [one["on"] for one in json.loads(dump(other))["steps"]][2] == [
        second.record.definition,
        last.base,
        last.base_content,
    ]
    assert load(dump(other)) == other


def test_a_layer_may_be_named_by_another_filesystem_that_it_names() -> None:
    """As that of a Run with `--inputs`, which sees a part of the one that it stands on."""
    found = chain_of(("run", "a"), ("run", "b"))
    first, second = found.steps
    layer = found.layers[1].replace(id=layer_id(OTHER, found.layers[1].content), over=OTHER)
    record = second.record.replace(layer=layer.id, snapshot=key_of("snapshot", second.base, layer.id))
    other = CacheDocument((first, second.replace(record=record)), (found.layers[0], layer))
    assert load(dump(other)) == other
    lying = other.replace(layers=(found.layers[0], layer.replace(over=BASE)))
    assert [step.record.definition for step in load(dump(lying)).steps] == [first.record.definition]


def test_a_layer_cannot_have_the_name_of_one_of_an_image() -> None:
    """Such a step is left out, and one that says it has the same layer, wherever it stands."""
    found = chain_of(("run", "a"), ("run", "b"), ("run", "c"))
    value = json.loads(dump(found))
    value["steps"][1]["layer"]["id"] = "b" * 64
    value["steps"][2]["layer"] = 1
    got = load(json.dumps(value).encode())
    assert [one.record.definition for one in got.steps] == [found.steps[0].record.definition]
    assert [one.id for one in got.layers] == [found.layers[0].id]
    assert not got.complete


def test_steps_that_share_a_layer_describe_it_once() -> None:
    found = document()
    again = definition_key(("run",), OTHER, ())
    record = found.steps[0].record.replace(
        key=again, definition=again, parts=(("op", ("run",)), ("base", OTHER, CONTENT), ("sources", ()))
    )
    both = found.replace(steps=(*found.steps, CachedStep(record, BASE)))
    said = json.loads(dump(both))["steps"]
    assert said[1]["layer"] == 1
    assert (said[1]["on"], said[1]["below"]) == ([OTHER, BASE, ""], CONTENT)
    assert load(dump(both)) == both


def test_a_document_without_some_of_its_steps_says_more() -> None:
    found = chain_of(("run", "a"), ("run", "b"), ("copy", "c"))
    for kept in ((0, 2), (1, 2), (2,), (1,)):
        some = only(found, [found.steps[place] for place in kept])
        assert load(dump(some)) == some


def test_a_definition_key_is_that_of_what_the_step_says() -> None:
    value = json.loads(dump(document()))
    step(value).update(definition=BASE, kind="copy", key=BASE)
    assert load(json.dumps(value).encode()) == document()
    step(value)["op"] = ["run", "other"]
    record = load(json.dumps(value).encode()).steps[0].record
    assert record.definition == record.key == definition_key(("run", "other"), OTHER, ())


def test_steps_of_a_later_document_come_where_that_has_them() -> None:
    """What stands on a step that the earlier one had lost comes behind it all the same."""
    found = chain_of(("run", "a"), ("run", "b"), ("copy", "c"))
    joined = join([only(found, found.steps[1:]), found])
    assert joined.steps == found.steps
    assert len(dump(joined)) == len(dump(found.replace(complete=False)))


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (("op", ("run",)),),
        (("op", ("run",)), ("base", ""), ("sources", ())),
        (("op", ("run",)), ("base", "", ""), ("sources", (("step",),))),
        (("op", ("run",)), ("base", "", ""), ("sources", 7)),
        (("op", ("run",)), ("sources", ()), ("base", "", "")),
        (("op", ("run", object())), ("base", "", ""), ("sources", ())),
    ],
)
def test_parts_of_another_form_define_nothing(parts: tuple[Any, ...]) -> None:
    whole = (("op", ("run",)), ("base", "", ""), ("sources", ()))
    definition = definition_key(("run",), "", ())
    assert defines(whole, definition)
    assert not defines(whole, OTHER)
    assert not defines(parts, definition)
