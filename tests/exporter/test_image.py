from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.errors import ExportError, UsageError
from buildkit_py.exporter.image import Built, load, make_image, timestamp
from buildkit_py.image import manifest
from buildkit_py.image.config import History, ImageConfig
from buildkit_py.store.layers import LayerBlob
from buildkit_py.store.store import Store

EPOCH = 1_700_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def blob_of(layer: str) -> LayerBlob:
    return LayerBlob("sha256:" + layer[:1] * 64, "sha256:" + layer[1:2] * 64, 10, manifest.OCI_LAYER + "+gzip")


def built(**changes: Any) -> Built:
    history = (
        History("base", created="2020-01-01T00:00:00Z", comment=""),
        History("ENV A=b", empty_layer=True, created="2024-05-05T00:00:00Z"),
        History("RUN make", created="2024-06-06T00:00:00Z"),
    )
    fields: dict[str, Any] = {
        "config": ImageConfig(env=(("A", "b"),), labels=(("x", "1"),)),
        "history": history,
        "platform": "linux/amd64",
        "layers": ("12" * 32, "34" * 32),
        "inherited": 1,
    }
    return Built(**{**fields, **changes})


def config(store: Store, digest: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(load(store, digest).config_data)
    return value


def test_the_same_result_gives_the_same_image(store: Store) -> None:
    first = make_image(store, built(), blob_of)
    assert make_image(store, built(), blob_of) == first
    value = config(store, first)
    assert value["created"] == "2024-06-06T00:00:00Z", "when the last step was made, not now"
    assert value["rootfs"]["diff_ids"] == ["sha256:" + "1" * 64, "sha256:" + "3" * 64]
    assert list(value) == sorted(value)
    image = load(store, first)
    assert [layer.digest for layer in image.manifest.layers] == ["sha256:" + "2" * 64, "sha256:" + "4" * 64]
    assert image.manifest.media_type == manifest.OCI_MANIFEST


def test_the_epoch_bounds_what_is_new(store: Store) -> None:
    value = config(store, make_image(store, built(epoch=EPOCH), blob_of))
    limit = timestamp(EPOCH)
    assert limit == "2023-11-14T22:13:20Z"
    assert value["created"] == limit
    assert [entry["created"] for entry in value["history"]] == ["2020-01-01T00:00:00Z", limit, limit]
    late_base = built(epoch=EPOCH, inherited=3)
    entries = config(store, make_image(store, late_base, blob_of))["history"]
    assert entries[2]["created"] == "2024-06-06T00:00:00Z", "the base image's history is not ours"


def test_labels_are_added(store: Store) -> None:
    value = config(store, make_image(store, built(labels=(("x", "2"), ("a", "3"))), blob_of))
    assert value["config"]["Labels"] == {"a": "3", "x": "2"}


def test_history_and_layers_agree(store: Store) -> None:
    few = config(store, make_image(store, built(layers=("12" * 32,)), blob_of))["history"]
    assert [entry.get("empty_layer", False) for entry in few] == [False, True, True]
    many = config(store, make_image(store, built(layers=("12" * 32, "34" * 32, "56" * 32)), blob_of))["history"]
    assert sum(not entry.get("empty_layer", False) for entry in many) == 3


def test_dockers_types(store: Store) -> None:
    image = load(store, make_image(store, built(), blob_of, docker_types=True))
    assert image.manifest.media_type == manifest.DOCKER_MANIFEST
    assert image.manifest.config.media_type == manifest.DOCKER_CONFIG
    assert {layer.media_type for layer in image.manifest.layers} == {manifest.DOCKER_LAYER + ".gzip"}

    def zstd(layer: str) -> LayerBlob:
        return blob_of(layer).replace(media_type=manifest.OCI_LAYER + "+zstd")

    with pytest.raises(UsageError, match="no zstd"):
        make_image(store, built(), zstd, docker_types=True)
    assert make_image(store, built(), zstd)


def test_dockers_layers_in_an_oci_image(store: Store) -> None:
    def docker(layer: str) -> LayerBlob:
        return blob_of(layer).replace(media_type=manifest.DOCKER_LAYER + ".gzip")

    image = load(store, make_image(store, built(), docker))
    assert {layer.media_type for layer in image.manifest.layers} == {manifest.OCI_LAYER + "+gzip"}


def test_an_empty_image(store: Store) -> None:
    empty = make_image(store, built(layers=(), history=(), config=ImageConfig()), blob_of)
    assert config(store, empty) == {
        "architecture": "amd64",
        "config": {},
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": []},
    }


def test_more_layers_than_can_be_mounted(store: Store) -> None:
    with pytest.raises(ExportError, match="501 layers"):
        make_image(store, built(layers=("12" * 32,) * 501), blob_of)
