"""Mirrors that fail, early or late: the next one is asked, then the registry itself; errors name who sent what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit_py.config import Config, RegistryConfig
from buildkit_py.errors import DigestMismatch, RegistryError, SourceError
from buildkit_py.executor.materialize import Materializer
from buildkit_py.registry.client import Client
from buildkit_py.registry.fetch import Fetcher
from buildkit_py.registry.resolve import ImageResolver
from buildkit_py.sandbox.userns import Identity
from buildkit_py.store.store import Store
from tests.fake_registry import FakeRegistry, Handler, Request, fake_registry, once
from tests.images import Sample, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildkit_py.registry.resolve import ResolvedImage

IMAGE = sample({"first": os.urandom(700_000), "last": b"true"})
LAYER = IMAGE.layers[0]
HTML = b"<html>Please log in</html>"
# It begins as the layer does, and is as long.
OTHER = IMAGE.blobs[LAYER][:-100] + bytes(100)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def home() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add(IMAGE)
        yield registry


@pytest.fixture
def mirror() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        registry.add(IMAGE)
        yield registry


@pytest.fixture
def client(home: FakeRegistry, mirror: FakeRegistry, tmp_path: Path) -> Iterator[Client]:
    config = Config(registries=(RegistryConfig(home.address, (f"http://{mirror.address}",)),))
    made = Client(config, env={"HOME": str(tmp_path)}, sleep=lambda seconds: None)
    yield made
    made.close()


def resolve(store: Store, client: Client, home: FakeRegistry) -> ResolvedImage:
    return ImageResolver(store, lambda: client).resolve(f"{home.address}/app", "linux/amd64")


def fetcher(store: Store, client: Client) -> Fetcher:
    return Fetcher(store, lambda: client, sleep=lambda seconds: None)


def cut(image: Sample, digest: str) -> Callable[[Handler, Request], bool]:
    """Breaks off each time, after some bytes more."""

    def answer(handler: Handler, request: Request) -> bool:
        if not request.path.endswith(digest):
            return False
        data = image.blobs[digest]
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[start : start + 50])
        handler.close_connection = True
        return True

    return answer


def instead(part: str, data: bytes, kind: str = "text/html") -> Callable[[Handler, Request], bool]:
    """A captive portal, or a full disk."""
    return lambda handler, request: part in request.path and handler.reply(200, data, Content_Type=kind)


@pytest.mark.parametrize(
    "fault",
    [
        instead("/manifests/", HTML),
        instead("/manifests/", b'{"message": "no"}', "application/json"),
        instead("/manifests/", b""),
        instead(IMAGE.config, HTML),
        cut(IMAGE, IMAGE.config),
        instead(IMAGE.config, IMAGE.blobs[IMAGE.config].replace(b"amd64", b"amd63")),
    ],
    ids=["manifest is HTML", "manifest is none", "no manifest", "config is HTML", "config breaks off", "other config"],
)
def test_documents_that_a_mirror_does_not_have(
    home: FakeRegistry, mirror: FakeRegistry, store: Store, client: Client, fault: Callable[[Handler, Request], bool]
) -> None:
    mirror.faults.append(fault)
    assert resolve(store, client, home).digest == IMAGE.digest
    assert len(mirror.requests) > 0
    home.faults.append(fault)
    other = Store.open(store.root + "-other")
    with pytest.raises(SourceError) as caught:
        resolve(other, client, home)
    assert any(note.startswith(f"mirror http://{mirror.address}: ") for note in caught.value.notes)


def test_a_config_that_a_mirror_lacks_for_a_moment_is_asked_for_again(
    home: FakeRegistry, mirror: FakeRegistry, store: Store, client: Client
) -> None:
    mirror.faults.append(once(lambda handler, request: handler.reply(503), IMAGE.config, times=2))
    assert resolve(store, client, home).digest == IMAGE.digest
    assert home.requests == []


@pytest.mark.parametrize(
    "fault",
    [cut(IMAGE, LAYER), instead(LAYER, HTML), instead(LAYER, OTHER), instead(LAYER, IMAGE.blobs[LAYER] + b"more")],
    ids=["breaks off", "HTML", "other bytes", "more bytes"],
)
@pytest.mark.parametrize("is_unpacked", [False, True], ids=["kept", "unpacked"])
@pytest.mark.attack("R1")
def test_a_layer_that_a_mirror_does_not_have(
    home: FakeRegistry,
    mirror: FakeRegistry,
    store: Store,
    client: Client,
    tmp_path: Path,
    fault: Callable[[Handler, Request], bool],
    is_unpacked: bool,
) -> None:
    mirror.faults.append(fault)
    (layer,) = resolve(store, client, home).layers

    def get() -> None:
        if not is_unpacked:
            fetcher(store, client).ensure_blob(layer)
            return
        me = Identity(privileged=False, userns=False, single_id=True, uid=os.geteuid(), gid=os.getegid())
        tree = Path(Materializer(store, me, lambda: fetcher(store, client)).tree(layer))
        assert sorted(path.name for path in tree.iterdir()) == ["first", "last"]
        assert (tree / "last").read_bytes() == b"true"

    home.faults.append(fault)
    with pytest.raises(SourceError) as caught:
        get()
    assert not store.blobs.has(LAYER)
    (note,) = (note for note in caught.value.notes if "mirror" in note)
    assert note.startswith(f"mirror http://{mirror.address}: the ")
    home.faults.clear()
    get()
    assert store.blobs.read(LAYER) == IMAGE.blobs[LAYER]


def test_the_next_mirror_goes_on_with_a_layer_where_the_first_broke_off(
    home: FakeRegistry, mirror: FakeRegistry, store: Store, tmp_path: Path
) -> None:
    with fake_registry() as second:
        second.add(IMAGE)
        addresses = (f"http://{mirror.address}", f"http://{second.address}")
        config = Config(registries=(RegistryConfig(home.address, addresses),))
        client = Client(config, env={"HOME": str(tmp_path)}, sleep=lambda seconds: None)
        mirror.faults.append(cut(IMAGE, LAYER))
        (layer,) = resolve(store, client, home).layers
        assert fetcher(store, client).ensure_blob(layer) == LAYER
        assert len(mirror.seen(LAYER)) == 5
        assert [request.headers["Range"] for request in second.seen(LAYER)] == ["bytes=250-"]
        client.close()
    assert home.requests == []


def test_a_layer_that_begins_with_wrong_bytes_of_a_mirror_is_fetched_anew(
    home: FakeRegistry, mirror: FakeRegistry, store: Store, client: Client
) -> None:
    mirror.faults.append(cut(IMAGE._replace(blobs={LAYER: bytes(len(OTHER))}), LAYER))
    (layer,) = resolve(store, client, home).layers
    steps: list[int] = []
    assert fetcher(store, client).ensure_blob(layer, lambda done, total: steps.append(done)) == LAYER
    assert [request.headers.get("Range") for request in home.seen(LAYER)] == ["bytes=250-", None]
    assert steps[-1] == len(OTHER)


def test_a_layer_of_another_content_is_no_failure_of_the_mirror(
    home: FakeRegistry, mirror: FakeRegistry, store: Store, client: Client
) -> None:
    """Its bytes are those that the manifest names."""
    other = sample({"other": b"1"})
    lie = IMAGE.blobs[IMAGE.digest].replace(LAYER.encode(), other.layers[0].encode())
    size = f'"size": {len(IMAGE.blobs[LAYER])}'.encode()
    assert size in lie
    for registry in (home, mirror):
        registry.add(other)
        registry.put("latest", lie.replace(size, f'"size": {len(other.blobs[other.layers[0]])}'.encode()))
        registry.blobs.update(IMAGE.blobs)
    (layer,) = resolve(store, client, home).layers
    with pytest.raises(DigestMismatch, match="the layer's content is"):
        fetcher(store, client).ensure_blob(layer)
    assert home.requests == []


def test_who_is_down_after_a_mirror_broke_off_is_told(
    home: FakeRegistry, mirror: FakeRegistry, store: Store, client: Client
) -> None:
    mirror.faults.append(cut(IMAGE, LAYER))
    (layer,) = resolve(store, client, home).layers
    home.faults.append(lambda handler, request: "/blobs/" in request.path and handler.reply(418))
    with pytest.raises(RegistryError, match="answers 418") as caught:
        fetcher(store, client).ensure_blob(layer)
    assert any(
        note.startswith(f"mirror http://{mirror.address}: the transfer broke off") for note in caught.value.notes
    )
    assert len(home.seen(LAYER)) == 1
