from __future__ import annotations

import json

import pytest

from buildkit_py.store.reach import reach
from buildkit_py.store.store import Store
from tests.store.samples import add_image, add_layer


def test_a_manifest_reaches_its_config_and_layers(store: Store) -> None:
    layers = [add_layer(store, name) for name in ("one", "two")]
    manifest = add_image(store, "image", *layers)
    found = reach(store.blobs, manifest)
    assert found.problems == ()
    assert found.diff_ids == {layer.diff_id for layer in layers}
    assert found.layers == tuple((layer.diff_id, layer.diff_id) for layer in layers)
    assert found.blobs == {digest for digest, _ in store.blobs.all()}


def test_an_index_reaches_the_manifests_that_are_here(store: Store) -> None:
    here = add_image(store, "image", add_layer(store, "one"))
    absent = "sha256:" + "0" * 64
    index = store.blobs.put(json.dumps({"manifests": [{"digest": here}, {"digest": absent}, "x", {}]}).encode())
    found = reach(store.blobs, index)
    assert found.problems == ()
    assert found.blobs == {index} | reach(store.blobs, here).blobs
    assert len(found.layers) == 1


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"not json",
        b"\xff",
        b"[" * 100_000,
        b'{"config": {"digest": "sha256:' + b"0" * 64 + b'"}}',
        b" " * (5 << 20),
    ],
)
def test_what_is_no_manifest_is_a_problem(store: Store, document: bytes) -> None:
    digest = store.blobs.put(document)
    assert len(reach(store.blobs, digest).problems) == 1


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"manifests": 1, "config": [], "layers": {}},
        {"config": {"digest": "../../etc/passwd"}},
        {"config": {"digest": 1}, "layers": [{"digest": None}]},
        {"manifests": [{"digest": []}]},
    ],
)
def test_odd_documents_reach_nothing_else(store: Store, document: object) -> None:
    digest = store.blobs.put(json.dumps(document).encode())
    assert reach(store.blobs, digest).blobs == {digest}


def test_missing_and_damaged_documents(store: Store) -> None:
    manifest = add_image(store, "image", add_layer(store, "one"))
    with open(store.blobs.path(manifest), "r+b") as file:
        file.write(b"!")
    assert "damaged" in reach(store.blobs, manifest).problems[0]
    assert "missing" in reach(store.blobs, manifest).problems[0 if store.blobs.has(manifest) else -1]
