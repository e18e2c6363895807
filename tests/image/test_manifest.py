"""Strict reading of manifests (isolation.md R3, R4, R5) and stable writing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buildkit_py.image import manifest
from buildkit_py.image.manifest import Descriptor, Index, Manifest
from buildkit_py.image.platform import Platform
from buildkit_py.image.strict_json import Malformed, parse_object

DIGEST = "sha256:" + "0a" * 32


def value(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST,
        "config": {"mediaType": manifest.OCI_CONFIG, "digest": DIGEST, "size": 7},
        "layers": [{"mediaType": manifest.OCI_LAYER + "+gzip", "digest": DIGEST, "size": 9}],
    }
    made.update(changes)
    return {key: item for key, item in made.items() if item is not None}


def data(**changes: Any) -> bytes:
    return json.dumps(value(**changes)).encode()


def test_what_is_written_is_read_back() -> None:
    layer = Descriptor(manifest.OCI_LAYER, DIGEST, 5, annotations=(("a", "b"),))
    one = Manifest(manifest.OCI_MANIFEST, Descriptor(manifest.OCI_CONFIG, DIGEST, 1), (layer,), (("x", "ü"),))
    assert manifest.parse(manifest.dump(one)) == one
    entry = Descriptor(manifest.OCI_MANIFEST, DIGEST, 3, Platform("linux", "arm", "v7"))
    many = Index(manifest.OCI_INDEX, (entry,))
    assert manifest.parse(manifest.dump(many)) == many
    assert manifest.dump(one) == manifest.dump(one)


def test_the_media_type_may_be_missing() -> None:
    found = manifest.parse(data(mediaType=None))
    assert found.media_type == manifest.OCI_MANIFEST
    found = manifest.parse(data(mediaType=None), manifest.DOCKER_MANIFEST)
    assert found.media_type == manifest.DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("raw", "said", "message"),
    [
        (b"", "", "not valid JSON"),
        (b"[]", "", "not a JSON object"),
        (b"\xff", "", "not UTF-8"),
        (b"{}", "", "schemaVersion"),
        (b'{"schemaVersion": 2}', "", "neither a manifest nor an index"),
        (b'{"schemaVersion": 2, "schemaVersion": 2, "layers": []}', "", "stands twice"),
        (b'{"schemaVersion": NaN}', "", "NaN is no JSON value"),
        (b"[" * 100_000, "", "nested too deeply|not valid JSON"),
        (b'{"a":' * 1_000_000, "", "larger than 4 MiB"),
        (b'{"a":' * 100_000, "", "nested too deeply|not valid JSON"),
        (b" " * ((4 << 20) + 1), "", "larger than 4 MiB"),
        (b'{"schemaVersion": 1}', "", "schema 1"),
        (data(manifests=[]), "", "a manifest and an index at once"),
        (data(), manifest.OCI_INDEX, "announced as"),
        (data(mediaType=manifest.OCI_INDEX), "", "not that of an image manifest"),
        (data(mediaType=None), manifest.DOCKER_INDEX, "not that of an image manifest"),
        (data(mediaType=manifest.DOCKER_MANIFEST), manifest.OCI_MANIFEST, "announced as"),
        (data(mediaType=5), "", "`mediaType` of the manifest is not a text"),
        (data(schemaVersion=True), "", "not a whole number"),
        (data(schemaVersion=3), "", "not 2"),
        (data(config=None), "", "names no config"),
        (data(config=[]), "", "`config` of the manifest is not an object"),
        (data(layers={}), "", "not a list of objects"),
        (data(layers=[5]), "", "not a list of objects"),
        (data(layers=value()["layers"] * 501), "", "501 layers"),
        (data(annotations={"a": 1}), "", "not a text"),
    ],
)
@pytest.mark.attack("R3", "R4")
def test_what_is_refused(raw: bytes, said: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        manifest.parse(raw, said)


@pytest.mark.parametrize(
    "descriptor",
    [
        {"mediaType": "x", "size": 1},
        {"mediaType": "x", "digest": "sha256:../../x", "size": 1},
        {"mediaType": "x", "digest": "md5:" + "0" * 32, "size": 1},
        {"mediaType": "x", "digest": DIGEST.upper(), "size": 1},
        {"mediaType": "x", "digest": DIGEST[:-1], "size": 1},
        {"mediaType": "x", "digest": DIGEST + "\n", "size": 1},
        {"mediaType": "x", "digest": DIGEST},
        {"mediaType": "x", "digest": DIGEST, "size": -1},
        {"mediaType": "x", "digest": DIGEST, "size": 1.5},
        {"mediaType": "x", "digest": DIGEST, "size": True},
        {"mediaType": "x", "digest": DIGEST, "size": 1 << 63},
        {"mediaType": "", "digest": DIGEST, "size": 1},
        {"digest": DIGEST, "size": 1},
        {"mediaType": "x", "digest": 5, "size": 1},
        {"mediaType": "x", "digest": DIGEST, "size": 1, "platform": "linux"},
    ],
)
@pytest.mark.attack("R5")
def test_descriptors_that_are_refused(descriptor: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        manifest.parse(data(layers=[descriptor]))
    with pytest.raises(Malformed):
        manifest.parse(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode())


def test_other_artifacts_are_no_images() -> None:
    found = manifest.parse(
        data(config={"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": DIGEST, "size": 1})
    )
    assert isinstance(found, Manifest)
    with pytest.raises(Malformed, match="not a container image"):
        manifest.check_image(found)
    found = manifest.parse(data(layers=[{"mediaType": "text/plain", "digest": DIGEST, "size": 1}]))
    assert isinstance(found, Manifest)
    with pytest.raises(Malformed, match="unknown type"):
        manifest.check_image(found)


def test_layer_types() -> None:
    for compression in ("gzip", "zstd", "uncompressed"):
        assert manifest.layer_compression(manifest.layer_media_type(compression)) == compression
    for compression in ("gzip", "uncompressed"):
        assert manifest.layer_compression(manifest.layer_media_type(compression, docker=True)) == compression
    with pytest.raises(ValueError, match="no zstd"):
        manifest.layer_media_type("zstd", docker=True)
    assert manifest.layer_compression("application/octet-stream") == ""


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\uDFFF"', '["\\ud83d"]', '{"\\udc00":1}'])
def test_half_of_a_character_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="half of a character"):
        parse_object(b'{"a":%s}' % text.encode(), limit=1 << 20, what="manifest")


def test_escapes_of_whole_characters_and_of_bytes_are_read() -> None:
    data = b'{"a":"\\ud83d\\ude00","b":"\\udcff"}'
    assert parse_object(data, limit=1 << 20, what="manifest") == {"a": "\U0001f600", "b": "\udcff"}
