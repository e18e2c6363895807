"""Resolving and fetching from registries that misbehave (isolation.md 2.4): what is refused, tried again, resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit_py.config import Config, RegistryConfig
from buildkit_py.errors import DigestMismatch, ImageNotFound, PybuildError, RegistryError, SourceError
from buildkit_py.registry.client import Client
from buildkit_py.registry.fetch import Fetcher
from buildkit_py.registry.resolve import ImageResolver
from buildkit_py.registry.tar_digest import is_proved
from buildkit_py.source_map import Position
from buildkit_py.store.store import Store
from tests.fake_registry import FakeRegistry, Handler, Request, fake_registry, once
from tests.images import index_of, sample, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = sample({"noise": os.urandom(900_000)})


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    made = Client(env={"HOME": str(tmp_path)}, sleep=lambda seconds: None)
    yield made
    made.close()


def resolve(store: Store, client: Client, fake: FakeRegistry, tag: str = "latest", platform: str = "linux/amd64"):  # type: ignore[no-untyped-def]
    return ImageResolver(store, lambda: client).resolve(f"{fake.address}/app:{tag}", platform, Position("Buildfile", 3))


def blobs_of(store: Store) -> set[str]:
    return {digest for digest, _ in store.blobs.all()}


def pull(store: Store, client: Client, fake: FakeRegistry) -> bytes:
    image = resolve(store, client, fake)
    digest = Fetcher(store, lambda: client, sleep=lambda seconds: None).ensure_blob(image.layers[0])
    return store.blobs.read(digest)


def test_resolving_downloads_no_layer_and_needs_no_network_again(
    fake: FakeRegistry, store: Store, client: Client
) -> None:
    image = sample({"a": b"1"}, {"b": b"2"})
    fake.add(image)
    first = resolve(store, client, fake)
    assert first.digest == image.digest
    assert first.layers == tuple(diff_id[7:] for diff_id in image.diff_ids)
    assert not any(store.blobs.has(layer) for layer in image.layers)
    assert all(store.layers.present(layer) for layer in first.layers)
    count = len(fake.requests)
    assert first.index == image.digest
    assert resolve(store, client, fake) == first.replace(index="")  # nobody was asked
    assert len(fake.requests) == count


def test_pull_asks_again_and_sees_a_moved_tag(fake: FakeRegistry, store: Store, client: Client) -> None:
    old, new = sample({"a": b"1"}), sample({"a": b"2"})
    fake.add(old)
    assert resolve(store, client, fake).digest == old.digest
    fake.add(new)
    assert resolve(store, client, fake).digest == old.digest
    found = ImageResolver(store, lambda: client).resolve(f"{fake.address}/app", "linux/amd64", pull=True)
    assert found.digest == new.digest


@pytest.mark.attack("R11")
def test_a_tag_that_moves_between_requests_does_not_matter(fake: FakeRegistry, store: Store, client: Client) -> None:
    image, other = sample({"a": b"1"}), sample({"a": b"2"})
    fake.add(image)
    index = index_of((image, "amd64"))
    fake.put("latest", index)

    def move(handler: Handler, request: Request) -> bool:
        if "/manifests/sha256:" in request.path:
            fake.manifests["latest"] = fake.manifests[fake.put("x", other.blobs[other.digest])]
        return False

    fake.faults.append(move)
    assert resolve(store, client, fake).digest == image.digest


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux/amd64", 0), ("linux/arm64", 1), ("linux/arm64/v8", 1), ("linux/arm/v7", 3), ("linux/arm/v6", 2)],
)
def test_the_index_leads_to_the_platform(
    fake: FakeRegistry, store: Store, client: Client, platform: str, expected: int
) -> None:
    kinds = ("amd64", "arm64/v8", "arm/v6", "arm/v7")
    images = [sample({"a": kind.encode()}, architecture=kind.partition("/")[0]) for kind in kinds]
    for image in images:
        fake.add(image)
    fake.put("latest", index_of(*zip(images, kinds, strict=True)))
    assert resolve(store, client, fake, platform=platform).digest == images[expected].digest


def test_a_platform_that_is_not_there(fake: FakeRegistry, store: Store, client: Client) -> None:
    image = sample()
    fake.add(image)
    fake.put("latest", index_of((image, "amd64")))
    with pytest.raises(ImageNotFound, match="not there for linux/s390x") as caught:
        resolve(store, client, fake, platform="linux/s390x")
    assert "it is there for linux/amd64" in caught.value.notes
    assert str(caught.value.at) == "Buildfile:3:1"


@pytest.mark.parametrize("word", ["a b", "a=b", "a/b", "\u00e4"])
@pytest.mark.parametrize("key", ["os", "architecture", "variant"])
def test_a_config_for_what_is_no_platform(
    fake: FakeRegistry, store: Store, client: Client, key: str, word: str
) -> None:
    image = sample()
    fake.add(image)
    config = json.dumps({**json.loads(image.blobs[image.config]), key: word}).encode()
    value = json.loads(image.blobs[image.digest])
    value["config"] |= {"digest": sha256(config), "size": len(config)}
    fake.blobs[sha256(config)] = config
    fake.put("latest", json.dumps(value).encode())
    with pytest.raises(SourceError, match=f"says that it is for `{word}`, which is part of no platform") as caught:
        resolve(store, client, fake)
    assert str(caught.value.at) == "Buildfile:3:1"


def test_an_attestation_is_no_image(fake: FakeRegistry, store: Store, client: Client) -> None:
    image, other = sample(), sample({"in-toto": b"1"})
    for one in (image, other):
        fake.add(one)
    index = json.loads(index_of((image, "amd64"), (other, "amd64")))
    del index["manifests"][0]["platform"]
    index["manifests"][1]["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    for platform in ({"os": "unknown", "architecture": "unknown"}, None):
        index["manifests"][1]["platform"] = platform
        fake.put("latest", json.dumps(index).encode())
        found = ImageResolver(store, lambda: client).resolve(f"{fake.address}/app", "linux/amd64", pull=True)
        assert found.digest == image.digest


@pytest.mark.parametrize("is_index", [False, True])
def test_an_image_of_a_single_platform_is_another_one_for_a_pull(
    fake: FakeRegistry, store: Store, client: Client, is_index: bool
) -> None:
    image = sample()
    fake.add(image)
    if is_index:
        fake.put("latest", index_of((image, "s390x")))
    name = f"{fake.address}/app:latest"
    resolver = ImageResolver(store, lambda: client)
    with pytest.raises(ImageNotFound, match="not there for linux/s390x") as caught:
        resolver.resolve(name, "linux/s390x", pull=True, exact=True)
    assert "it is there for linux/amd64 only" in caught.value.notes
    assert store.images.get(name) is None
    assert resolver.resolve(name, "linux/s390x", pull=True).digest == image.digest
    if not is_index:
        assert resolver.resolve(name, "linux/amd64/v2", pull=True, exact=True).digest == image.digest


def test_an_image_that_no_one_has(fake: FakeRegistry, store: Store, client: Client) -> None:
    with pytest.raises(ImageNotFound, match="not in the registry") as caught:
        resolve(store, client, fake)
    assert str(caught.value.at) == "Buildfile:3:1"


def test_a_registry_that_is_down(store: Store, client: Client) -> None:
    with fake_registry() as registry:
        pass
    with pytest.raises(RegistryError, match="cannot be reached: Connection refused"):
        resolve(store, client, registry)


def test_a_blob_is_fetched_whole(fake: FakeRegistry, store: Store, client: Client) -> None:
    fake.add(LARGE)
    assert pull(store, client, fake) == LARGE.blobs[LARGE.layers[0]]


def _broken_off(handler: Handler, request: Request, after: int) -> None:
    data = LARGE.blobs[LARGE.layers[0]]
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(len(data) - start))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    handler.end_headers()
    handler.wfile.write(data[start : start + after])
    handler.close_connection = True


@pytest.mark.attack("R1")
def test_a_broken_transfer_goes_on_where_it_stopped(fake: FakeRegistry, store: Store, client: Client) -> None:
    fake.add(LARGE)
    layer = LARGE.layers[0]
    fake.faults.append(once(lambda handler, request: _broken_off(handler, request, 200_000), layer, times=3))
    assert pull(store, client, fake) == LARGE.blobs[layer]
    ranges = [request.headers.get("Range") for request in fake.seen(layer)]
    assert ranges == [None, "bytes=200000-", "bytes=400000-", "bytes=600000-"]


def test_a_registry_without_ranges_sends_it_again(fake: FakeRegistry, store: Store, client: Client) -> None:
    fake.add(LARGE)
    layer = LARGE.layers[0]
    fake.faults.append(once(lambda handler, request: _broken_off(handler, request, 300_000), layer))
    fake.faults.append(once(lambda handler, request: handler.reply(200, LARGE.blobs[layer]), layer))
    assert pull(store, client, fake) == LARGE.blobs[layer]
    assert len(fake.seen(layer)) == 2


def test_a_transfer_that_always_breaks_off_is_given_up(fake: FakeRegistry, store: Store, client: Client) -> None:
    fake.add(LARGE)
    layer = LARGE.layers[0]
    fake.faults.append(once(lambda handler, request: _broken_off(handler, request, 10), layer, times=1000))
    with pytest.raises(RegistryError, match="broke off"):
        pull(store, client, fake)
    assert len(fake.seen(layer)) == 5
    assert layer not in blobs_of(store)


@pytest.mark.parametrize(
    "lie",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data + b"more",
        lambda data: data[:-10],
        lambda data: b"",
    ],
    ids=["flipped", "longer", "shorter", "empty"],
)
@pytest.mark.attack("R1")
def test_wrong_bytes_are_refused_and_leave_nothing(fake: FakeRegistry, store: Store, client: Client, lie) -> None:  # type: ignore[no-untyped-def]
    fake.add(LARGE)
    layer = LARGE.layers[0]
    fake.blobs[layer] = lie(fake.blobs[layer])
    with pytest.raises(DigestMismatch) as caught:
        pull(store, client, fake)
    assert str(caught.value.at).startswith(fake.address)
    assert layer not in blobs_of(store)
    fake.blobs[layer] = LARGE.blobs[layer]
    assert pull(store, client, fake) == LARGE.blobs[layer]


@pytest.mark.attack("R2")
def test_a_layer_of_another_content_than_the_config_says_is_not_passed_on(
    fake: FakeRegistry, store: Store, client: Client
) -> None:
    image, other = sample({"a": b"1"}), sample({"a": b"2"})
    fake.add(other)
    fake.add(image)
    manifest = json.loads(image.blobs[image.digest])
    manifest["layers"] = json.loads(other.blobs[other.digest])["layers"]
    fake.put("latest", json.dumps(manifest).encode())
    layer = resolve(store, client, fake).layers[0]
    lie, true = manifest["layers"][0]["digest"], image.layers[0]
    fetcher = Fetcher(store, lambda: client, sleep=lambda seconds: None)
    with pytest.raises(DigestMismatch, match="the layer's content is"):
        fetcher.vouch(layer, lie)
    # Now its blob is here, as it is where another image has it for a layer of its own.
    resolve(store, client, fake)
    assert store.blobs.has(lie)
    with pytest.raises(DigestMismatch, match="the layer's content is"):
        fetcher.vouch(layer, lie)
    # Nor does it stand in the way of the true one, which is looked at once.
    fake.add(image)
    ImageResolver(store, lambda: client).resolve(f"{fake.address}/app", "linux/amd64", pull=True)
    fetcher.vouch(layer, true)
    assert is_proved(store, layer, true)
    assert not is_proved(store, layer, lie)


def test_a_manifest_that_is_not_the_one_asked_for(fake: FakeRegistry, store: Store, client: Client) -> None:
    image, other = sample({"a": b"1"}), sample({"a": b"2"})
    fake.add(image)
    fake.manifests[image.digest] = (fake.manifests[image.digest][0], other.blobs[other.digest])
    with pytest.raises(DigestMismatch):
        ImageResolver(store, lambda: client).resolve(f"{fake.address}/app@{image.digest}", "linux/amd64")


def test_a_registry_that_contradicts_itself(fake: FakeRegistry, store: Store, client: Client) -> None:
    image = sample()
    fake.add(image)
    kind, data = fake.manifests["latest"]
    fake.faults.append(
        once(
            lambda handler, request: handler.reply(
                200, data, Content_Type=kind, Docker_Content_Digest="sha256:" + "0" * 64
            ),
            "/manifests/",
        )
    )
    with pytest.raises(DigestMismatch):
        resolve(store, client, fake)


def test_a_config_of_other_bytes(fake: FakeRegistry, store: Store, client: Client) -> None:
    image = sample()
    fake.add(image)
    fake.blobs[image.config] = image.blobs[image.config].replace(b"amd64", b"amd63")
    with pytest.raises(DigestMismatch, match="image config"):
        resolve(store, client, fake)
    assert image.config not in blobs_of(store)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(fake: FakeRegistry, store: Store, client: Client, status: int) -> None:
    image = sample()
    fake.add(image)
    fake.faults.append(once(lambda handler, request: handler.reply(status), "/manifests/", times=2))
    assert resolve(store, client, fake).digest == image.digest


def test_a_passing_failure_that_stays_is_given_up(fake: FakeRegistry, store: Store, client: Client) -> None:
    image = sample()
    fake.add(image)
    layer = resolve(store, client, fake).layers[0]
    fake.faults.append(once(lambda handler, request: handler.reply(503), image.layers[0], times=1000))
    with pytest.raises(RegistryError, match="answers 503"):
        Fetcher(store, lambda: client, sleep=lambda seconds: None).ensure_blob(layer)
    assert len(fake.seen(image.layers[0])) == 5


@pytest.mark.parametrize("which", ["manifests", "config"])
def test_a_document_that_breaks_off_is_read_again(fake: FakeRegistry, store: Store, client: Client, which: str) -> None:
    image = sample()
    fake.add(image)
    part = {"manifests": "/manifests/", "config": image.config}[which]

    def half(handler: Handler, request: Request) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"{")
        handler.close_connection = True

    fake.faults.append(once(half, part, times=2))
    assert resolve(store, client, fake).digest == image.digest


def test_a_lasting_failure_is_not(fake: FakeRegistry, store: Store, client: Client) -> None:
    fake.add(sample())
    fake.faults.append(once(lambda handler, request: handler.reply(418), "/manifests/", times=100))
    with pytest.raises(RegistryError, match="answers 418"):
        resolve(store, client, fake)
    assert len(fake.seen("/manifests/")) == 1


@pytest.mark.attack("R9")
def test_retry_after_is_believed_only_so_far(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    fake.add(sample())
    waits: list[float] = []
    client = Client(env={"HOME": str(tmp_path)}, sleep=waits.append)
    fake.faults.append(once(lambda h, r: h.reply(429, Retry_After="1000000000"), "/manifests/", times=100))
    with pytest.raises(RegistryError, match="answers 429"):
        resolve(store, client, fake)
    client.close()
    assert len(waits) == 4
    assert all(30 <= wait < 31 for wait in waits)


def hang_up(handler: Handler, request: Request) -> None:
    handler.close_connection = True


def test_a_connection_that_is_hung_up_on_is_tried_again(fake: FakeRegistry, store: Store, client: Client) -> None:
    image = sample()
    fake.add(image)
    fake.faults.append(once(hang_up, "/manifests/", times=2))
    assert resolve(store, client, fake).digest == image.digest


def test_the_first_question_is_asked_again_too(fake: FakeRegistry, store: Store, client: Client) -> None:
    image = sample()
    fake.add(image)
    fake.faults.append(once(hang_up, "/v2/", times=2))
    assert resolve(store, client, fake).digest == image.digest
    assert [request.path for request in fake.requests[:3]] == ["/v2/"] * 3


@pytest.mark.parametrize("status", [200, 400, 404])
def test_what_the_first_answer_is_matters_little(fake: FakeRegistry, store: Store, client: Client, status: int) -> None:
    image = sample()
    fake.add(image)
    fake.faults.append(lambda handler, request: request.path == "/v2/" and handler.reply(status, b"x" * 100_000))
    assert resolve(store, client, fake).digest == image.digest


@pytest.mark.attack("R9")
def test_no_proper_http(fake: FakeRegistry, store: Store, client: Client) -> None:
    fake.add(sample())

    def nonsense(handler: Handler, request: Request) -> None:
        handler.wfile.write(b"\x00\x01\x02 what?\r\n\r\n")
        handler.close_connection = True

    fake.faults.append(once(nonsense, "/manifests/", times=100))
    with pytest.raises(RegistryError, match="no proper HTTP"):
        resolve(store, client, fake)


@pytest.mark.attack("R9")
def test_huge_headers(fake: FakeRegistry, store: Store, client: Client) -> None:
    fake.add(sample())

    def many(handler: Handler, request: Request) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n")
        handler.close_connection = True

    fake.faults.append(once(many, "/manifests/", times=100))
    with pytest.raises(RegistryError):
        resolve(store, client, fake)


@pytest.mark.attack("R3")
def test_an_oversized_manifest_and_config(fake: FakeRegistry, store: Store, client: Client) -> None:
    fake.put("latest", b" " * (5 << 20))
    with pytest.raises(RegistryError, match="longer than 4096 KiB"):
        resolve(store, client, fake)
    image = sample()
    fake.add(image)
    value = json.loads(image.blobs[image.digest])
    value["config"]["size"] = 100 << 20
    fake.put("latest", json.dumps(value).encode())
    with pytest.raises(SourceError, match="config is larger than 8 MiB"):
        resolve(store, client, fake)
    assert fake.seen(image.config) == []


@pytest.mark.attack("R3")
def test_indexes_that_lead_to_each_other(fake: FakeRegistry, store: Store, client: Client) -> None:
    image = sample()
    fake.add(image)
    data = index_of((image, "amd64"))
    for _ in range(6):
        digest = fake.put("latest", data)
        value = json.loads(data)
        value["manifests"][0].update(digest=digest, size=len(data), mediaType="application/vnd.oci.image.index.v1+json")
        data = json.dumps(value).encode()
    fake.put("latest", data)
    with pytest.raises(SourceError, match="nested too deeply"):
        resolve(store, client, fake)


@pytest.mark.attack("R2")
def test_more_diff_ids_than_layers(fake: FakeRegistry, store: Store, client: Client) -> None:
    image = sample({"a": b"1"}, {"b": b"2"})
    fake.add(image)
    value = json.loads(image.blobs[image.digest])
    del value["layers"][1]
    fake.put("latest", json.dumps(value).encode())
    with pytest.raises(SourceError, match="1 layers, the image config 2"):
        resolve(store, client, fake)


def test_a_mirror_answers_first(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    fake.add(image, "stable")
    config = Config(registries=(RegistryConfig("docker.io", (f"http://{fake.address}",)),))
    client = Client(config, env={"HOME": str(tmp_path)})
    found = ImageResolver(store, lambda: client).resolve("tool:stable", "linux/amd64")
    assert found.reference == "docker.io/library/tool:stable"
    assert fake.seen("/v2/library/tool/manifests/stable")
    Fetcher(store, lambda: client).ensure_blob(found.layers[0])
    assert store.images.get("docker.io/library/tool:stable") == image.digest
    client.close()


def test_a_mirror_that_lacks_it_is_passed_over(fake: FakeRegistry, store: Store, tmp_path: Path) -> None:
    image = sample()
    fake.add(image)
    with fake_registry() as mirror, fake_registry() as gone:
        addresses = (f"http://{mirror.address}", f"http://{gone.address}/prefix")
        config = Config(registries=(RegistryConfig(fake.address, addresses),))
        client = Client(config, env={"HOME": str(tmp_path)})
        assert resolve(store, client, fake).digest == image.digest
        assert mirror.seen("/v2/app/manifests/latest")
        assert gone.seen("/prefix/v2/app/manifests/latest")
        del fake.manifests["latest"]
        with pytest.raises(ImageNotFound) as caught:
            ImageResolver(store, lambda: client).resolve(f"{fake.address}/app", "linux/amd64", pull=True)
        assert sum("mirror" in note for note in caught.value.notes) == 2
        client.close()


def test_a_layer_noted_from_a_registry_that_is_gone_comes_from_the_next_one(store: Store, client: Client) -> None:
    image = sample({"a": b"shared"})
    with fake_registry() as first:
        first.add(image)
        resolve(store, client, first)
    with fake_registry() as second:
        second.add(image)
        assert pull(store, client, second) == image.blobs[image.layers[0]]


def test_a_name_for_two_platforms_needs_no_network_again(fake: FakeRegistry, store: Store, client: Client) -> None:
    amd, arm = sample({"a": b"1"}), sample({"a": b"2"}, architecture="arm64")
    for image in (amd, arm):
        fake.add(image)
    fake.put("latest", index_of((amd, "amd64"), (arm, "arm64")))
    wanted = {"linux/amd64": amd.digest, "linux/arm64": arm.digest}
    assert {one: resolve(store, client, fake, platform=one).digest for one in wanted} == wanted
    count = len(fake.requests)
    for platform in (*wanted, *reversed(wanted)):
        assert resolve(store, client, fake, platform=platform).digest == wanted[platform]
    assert len(fake.requests) == count

    newer = sample({"a": b"3"}, architecture="arm64")
    fake.add(newer)
    fake.put("latest", index_of((amd, "amd64"), (newer, "arm64")))
    name = f"{fake.address}/app"
    assert ImageResolver(store, lambda: client).resolve(name, "linux/arm64", pull=True).digest == newer.digest
    assert store.images.manifests(f"{name}:latest") == (newer.digest, amd.digest)  # its older one is forgotten

    store.images.set(f"{name}:latest", amd.digest)  # as `tag` and builds do: the name is another one's now
    count = len(fake.requests)
    assert resolve(store, client, fake, platform="linux/amd64").digest == amd.digest
    assert len(fake.requests) == count
    assert resolve(store, client, fake, platform="linux/arm64").digest == newer.digest
    assert len(fake.requests) > count


def test_a_damaged_manifest_in_the_store_is_had_anew(fake: FakeRegistry, store: Store, client: Client) -> None:
    image = sample()
    fake.add(image)
    resolve(store, client, fake)
    Path(store.blobs.path(image.digest)).write_bytes(b"{}")
    assert resolve(store, client, fake).digest == image.digest
    assert sha256(store.blobs.read(image.digest)) == image.digest


def test_many_threads_fetch_many_layers(fake: FakeRegistry, store: Store, client: Client) -> None:
    from concurrent.futures import ThreadPoolExecutor

    image = sample(*({f"f{number}": os.urandom(20_000)} for number in range(12)))
    fake.add(image)
    found = resolve(store, client, fake)
    fetcher = Fetcher(store, lambda: client)
    with ThreadPoolExecutor(6) as pool:
        digests = list(pool.map(fetcher.ensure_blob, found.layers))
    assert tuple(digests) == image.layers


def test_a_stream_tees_into_the_store_only_when_read_to_its_end(
    fake: FakeRegistry, store: Store, client: Client
) -> None:
    fake.add(LARGE)
    layer = resolve(store, client, fake).layers[0]
    fetcher = Fetcher(store, lambda: client)
    with fetcher.open_blob(layer) as stream:
        assert stream.blob.digest == LARGE.layers[0]
        assert stream.read(10) == LARGE.blobs[LARGE.layers[0]][:10]
    steps: list[tuple[int, int]] = []
    with fetcher.open_blob(layer, lambda done, total: steps.append((done, total))) as stream:
        data = b"".join(iter(lambda: stream.read(7777), b""))
    assert data == LARGE.blobs[LARGE.layers[0]] == store.blobs.read(LARGE.layers[0])
    assert steps[-1] == (len(data), len(data))
    count = len(fake.requests)
    with fetcher.open_blob(layer) as stream:
        assert stream.read(10) == data[:10]
    assert len(fake.requests) == count


@pytest.mark.parametrize("name", ["../x", "a/UPPER", "a:b:c", "x@sha256:12", "", "a//b", "x" * 300])
@pytest.mark.attack("R5")
def test_bad_names(store: Store, client: Client, name: str) -> None:
    with pytest.raises(PybuildError, match="not an image name") as caught:
        ImageResolver(store, lambda: client).resolve(name, "linux/amd64", Position("Buildfile", 1))
    assert caught.value.at is not None


def test_an_error_names_the_image_once(fake: FakeRegistry, store: Store, client: Client) -> None:
    name = f"{fake.address}/app"
    with pytest.raises(ImageNotFound) as caught:
        ImageResolver(store, lambda: client).resolve(f"{name}:latest", "linux/amd64", Position("Buildfile", 3))
    assert caught.value.message == f"`{name}` is not in the registry"
    assert caught.value.notes == (f"at http://{fake.address}/v2/app/manifests/latest",)
    fake.put("latest", b"{}")
    with pytest.raises(SourceError) as other:
        ImageResolver(store, lambda: client).resolve(name, "linux/amd64")
    assert other.value.message.startswith(f"`{name}`: ")
