"""Pushing to a real registry, and what others pull from it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit_py.errors import DigestMismatch, PybuildError, SourceError, StoreError
from buildkit_py.image import reference
from buildkit_py.registry.client import Client
from buildkit_py.registry.fetch import Fetcher
from buildkit_py.registry.push import push
from buildkit_py.registry.resolve import ImageResolver
from buildkit_py.store.gc import prune
from buildkit_py.store.layers import LayerMeta
from buildkit_py.store.store import Store
from tests.fake_registry import fake_registry, once
from tests.images import sample, sha256
from tests.needs import need
from tests.registry_server import COMMAND, registry_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    need(COMMAND)
    with registry_server(tmp_path / "registry") as host:
        yield host


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    made = Client(env={"HOME": str(tmp_path)}, sleep=lambda seconds: None)
    yield made
    made.close()


def test_what_is_pushed_is_pulled(registry: str, store: Store, client: Client, tmp_path: Path) -> None:
    image = sample({"a": os.urandom(300_000)}, {"b": b"2"}, {"c": b"3"})
    image.put(store)
    steps: list[tuple[int, int]] = []
    name = reference.parse(f"{registry}/team/app:v1")
    assert push(store, client, image.digest, name, progress=lambda d, t: steps.append((d, t))) == image.digest
    assert (
        steps[-1][0] == steps[-1][1] == sum(len(data) for data in image.blobs.values()) - len(image.blobs[image.digest])
    )
    other = Store.open(str(tmp_path / "other"))
    for text in (f"{registry}/team/app:v1", f"{registry}/team/app@{image.digest}"):
        found = ImageResolver(other, lambda: client).resolve(text)
        assert found.digest == image.digest
    fetcher = Fetcher(other, lambda: client)
    for layer, digest in zip(found.layers, image.layers, strict=True):
        assert fetcher.ensure_blob(layer) == digest
        assert other.blobs.read(digest) == image.blobs[digest]


def test_a_pulled_layer_moves_within_a_registry_without_coming_here(
    registry: str, store: Store, client: Client, tmp_path: Path
) -> None:
    image = sample({"a": b"1"}, {"b": b"2"})
    image.put(store)
    push(store, client, image.digest, reference.parse(f"{registry}/first:1"))
    other = Store.open(str(tmp_path / "other"))
    found = ImageResolver(other, lambda: client).resolve(f"{registry}/first:1")
    push(other, client, found.digest, reference.parse(f"{registry}/deep/second:2"))
    assert not any(other.blobs.has(layer) for layer in image.layers)
    third = Store.open(str(tmp_path / "third"))
    found = ImageResolver(third, lambda: client).resolve(f"{registry}/deep/second:2")
    assert Fetcher(third, lambda: client).ensure_blob(found.layers[1]) == image.layers[1]


def test_a_pulled_layer_comes_through_here_to_another_registry(
    registry: str, store: Store, client: Client, tmp_path: Path
) -> None:
    image = sample({"a": b"1"})
    with fake_registry() as source:
        source.add(image)
        found = ImageResolver(store, lambda: client).resolve(f"{source.address}/app")
        push(store, client, found.digest, reference.parse(f"{registry}/app:1"))
    other = Store.open(str(tmp_path / "other"))
    assert ImageResolver(other, lambda: client).resolve(f"{registry}/app:1").digest == image.digest


@pytest.mark.parametrize("state", ["noted", "fetched", "unpacked"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_images_that_have_a_layer_packed_otherwise(
    registry: str, store: Store, client: Client, tmp_path: Path, state: str, order: tuple[int, int]
) -> None:
    """Each is handed on as it is, whatever the store has of the other."""
    images = [sample({"a": b"1" * 5000}, compress=compress) for compress in (True, False)]
    assert images[0].diff_ids == images[1].diff_ids
    fetcher = Fetcher(store, lambda: client)
    with fake_registry() as source:
        for number in order:
            source.add(images[number], f"{number}")
            found = ImageResolver(store, lambda: client).resolve(f"{source.address}/app:{number}", "linux/amd64")
            if state != "noted" and number == order[0]:
                fetcher.ensure_blob(found.layers[0])
            if state == "unpacked" and number == order[0]:
                with store.work_dir("unpack") as work:
                    os.mkdir(work.path + "/diff")
                    store.layers.add_tree(found.layers[0], work.path + "/diff")
        for number in order:
            push(store, client, images[number].digest, reference.parse(f"{registry}/app:{number}"))
    for number in order:
        other = Store.open(str(tmp_path / f"other{number}"))
        assert ImageResolver(other, lambda: client).resolve(f"{registry}/app:{number}").digest == images[number].digest
        layer, blob = images[number].diff_ids[0][7:], images[number].layers[0]
        assert Fetcher(other, lambda: client).ensure_blob(layer) == blob
    prune(store)
    assert all(store.blobs.has(image.layers[0]) for image in images)


@pytest.mark.attack("R2")
def test_an_image_that_claims_the_layer_of_another_does_no_harm_to_it(
    registry: str, store: Store, client: Client
) -> None:
    """Of the true image and the liar, in either order, the true one is handed on and the liar refused."""
    true, other = sample({"a": b"1" * 5000}), sample({"b": b"2" * 5000})
    config = true.blobs[true.config]
    value = json.loads(other.blobs[other.digest])
    value["config"].update(digest=true.config, size=len(config))
    with fake_registry() as source:
        source.add(other)
        source.add(true)
        source.put("liar", json.dumps(value).encode())
        resolver = ImageResolver(store, lambda: client)
        for tag in ("latest", "liar"):
            resolver.resolve(f"{source.address}/app:{tag}", "linux/amd64")
        liar = store.images.get(f"{source.address}/app:liar")
        store.blobs.put(other.blobs[other.layers[0]])
        with pytest.raises(DigestMismatch):
            push(store, client, str(liar), reference.parse(f"{registry}/liar:1"))
        ImageResolver(store, lambda: client).resolve(f"{source.address}/app", "linux/amd64", pull=True)
        push(store, client, true.digest, reference.parse(f"{registry}/app:1"))


@pytest.mark.parametrize("is_fetched", [False, True])
def test_a_damaged_blob_of_one_image_is_not_in_the_way_of_another(
    registry: str, store: Store, client: Client, is_fetched: bool
) -> None:
    """Both say that theirs is the layer with that diff_id, and one of them is cut off."""
    good = sample({"a": b"1" * 5000})
    cut = good.blobs[good.layers[0]][:-9]
    value = json.loads(good.blobs[good.digest])
    value["layers"][0].update(digest=sha256(cut), size=len(cut))
    with fake_registry() as source:
        source.add(good)
        source.blobs[sha256(cut)] = cut
        source.put("cut", json.dumps(value).encode())
        fetcher = Fetcher(store, lambda: client)
        layer = good.diff_ids[0][7:]
        ImageResolver(store, lambda: client).resolve(f"{source.address}/app:cut", "linux/amd64")
        if is_fetched:
            with pytest.raises(SourceError):
                fetcher.ensure_blob(layer)
            store.blobs.put(cut)
        ImageResolver(store, lambda: client).resolve(f"{source.address}/app", "linux/amd64")
        assert fetcher.ensure_blob(layer) == good.layers[0]
        push(store, client, good.digest, reference.parse(f"{registry}/app:1"))
        with pytest.raises(SourceError):
            push(
                store, client, str(store.images.get(f"{source.address}/app:cut")), reference.parse(f"{registry}/cut:1")
            )


@pytest.mark.attack("R2")
def test_a_layer_that_only_is_called_as_one_of_an_image_is_not_taken_for_it(store: Store, client: Client) -> None:
    """As an older pybuild took from the cache of another machine: with files, and whatever digests that said."""
    image, evil = sample({"a": b"1"}), "sha256:" + "e" * 64
    layer = image.diff_ids[0][7:]
    image.put(store)
    with fake_registry() as source:
        source.add(image)
        for content, diff_id in (("c" * 64, image.diff_ids[0]), (layer, evil), ("c" * 64, evil)):
            with store.work_dir("unpack") as work:
                os.mkdir(work.path + "/diff")
                Path(work.path, "diff", "evil").touch()
                store.layers.delete(layer)
                store.layers.add(LayerMeta(layer, content, diff_id=diff_id), work.path + "/diff")
            name = f"{source.address}/app"
            if diff_id == evil:
                store.images.set(f"{name}:latest", image.digest)  # it is known here, and found without a registry
            assert ImageResolver(store, lambda: client).resolve(name, "linux/amd64").layers == (layer,)
            assert store.layers.tree(layer) is None
            assert store.layers.get(layer) == LayerMeta(
                layer,
                layer,
                diff_id=image.diff_ids[0],
                origin=store.layers.get(layer).origin,  # type: ignore[union-attr]
            )


def test_a_damaged_blob_is_not_pushed(registry: str, store: Store, client: Client) -> None:
    image = sample({"a": os.urandom(2_000_000)})
    image.put(store)
    path = Path(store.blobs.path(image.layers[0]))
    data = bytearray(path.read_bytes())
    data[1_000_000] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    with pytest.raises(PybuildError):
        push(store, client, image.digest, reference.parse(f"{registry}/app:1"))
    assert not client.has(reference.parse(f"{registry}/app:1"), image.layers[0])
    with pytest.raises(PybuildError, match="not in the registry"):
        client.manifest(reference.parse(f"{registry}/app:1"))


def test_an_image_whose_layer_is_gone(registry: str, store: Store, client: Client) -> None:
    image = sample({"a": b"1"})
    image.put(store)
    store.blobs.delete(image.layers[0])
    with pytest.raises(StoreError, match="gone from the store"):
        push(store, client, image.digest, reference.parse(f"{registry}/app:1"))


def test_an_upload_that_fails_in_passing_is_sent_again(store: Store, client: Client) -> None:
    image = sample({"a": os.urandom(500_000)})
    image.put(store)
    with fake_registry() as fake:
        stored: list[bytes] = []

        def uploads(handler, request) -> bool:  # type: ignore[no-untyped-def]
            if request.method == "POST":
                return bool(handler.reply(202, Location="/put?x=1"))
            if request.path.startswith("/put"):
                stored.append(request.body)
            return request.method == "PUT" and bool(handler.reply(201))

        fake.faults += [once(lambda handler, request: handler.reply(503), "/put", times=2), uploads]
        push(store, client, image.digest, reference.parse(f"{fake.address}/app:1"))
        assert sorted(stored) == sorted(image.blobs[digest] for digest in (*image.layers, image.config))


@pytest.mark.peers
def test_skopeo_pulls_what_is_pushed(registry: str, store: Store, client: Client, tmp_path: Path) -> None:
    need("skopeo")
    image = sample({"a": b"1"}, {"b": b"2"})
    image.put(store)
    push(store, client, image.digest, reference.parse(f"{registry}/app:1"))
    source = f"docker://{registry}/app:1"
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"dir:{tmp_path}/copy"], check=True, timeout=60
    )
    assert (tmp_path / "copy/manifest.json").read_bytes() == image.blobs[image.digest]
    for digest in (*image.layers, image.config):
        assert (tmp_path / "copy" / digest[7:]).read_bytes() == image.blobs[digest]


@pytest.mark.peers
def test_what_skopeo_pushes_is_pulled(registry: str, store: Store, client: Client, tmp_path: Path) -> None:
    """Docker's media types and an index, as skopeo writes them."""
    need("skopeo")
    image = sample({"a": b"1"}, architecture="arm64", variant="v8")
    image.put(store)
    push(store, client, image.digest, reference.parse(f"{registry}/app:1"))
    insecure = ("--src-tls-verify=false", "--dest-tls-verify=false")
    names = (f"docker://{registry}/app:1", f"docker://{registry}/app:docker")
    subprocess.run(["skopeo", "copy", "--quiet", *insecure, "--format", "v2s2", *names], check=True, timeout=60)
    found = ImageResolver(store, lambda: client).resolve(f"{registry}/app:docker", "linux/arm64")
    raw = json.loads(store.blobs.read(found.digest))
    assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert found.layers == tuple(diff_id[7:] for diff_id in image.diff_ids)
    assert Fetcher(store, lambda: client).ensure_blob(found.layers[0]) == raw["layers"][0]["digest"]
