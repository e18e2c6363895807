"""Layouts and docker archives as sources, hostile ones included (isolation.md R12), and images of the local store."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit_py.errors import DigestMismatch, ImageNotFound, SourceError
from buildkit_py.exporter.docker import export_docker
from buildkit_py.exporter.image import load
from buildkit_py.exporter.oci import export_oci
from buildkit_py.image.platform import parse
from buildkit_py.registry.client import Client
from buildkit_py.registry.fetch import Fetcher
from buildkit_py.registry.resolve import ImageResolver, ResolvedImage, load_image
from buildkit_py.store.store import Store
from tests.images import Sample, layer_tar, sample, sha256
from tests.needs import need

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = sample({"a": b"1"}, {"b": b"2" * 5000})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    made = Client(env={"HOME": str(tmp_path)})
    yield made
    made.close()


def written(tmp_path: Path, image: Sample, names: tuple[str, ...] = (), directory: bool = True) -> Path:
    """An OCI layout of an image, made from another store."""
    other = Store.open(str(tmp_path / "other"))
    image.put(other)
    dest = tmp_path / ("layout" if directory else "layout.tar")
    export_oci(other, load(other, image.digest), str(dest), names=names, directory=directory)
    return dest


def check(store: Store, client: Client, reference: str, image: Sample = IMAGE) -> ResolvedImage:
    found = ImageResolver(store, lambda: client).resolve(reference, "linux/amd64")
    assert found.layers == tuple(diff_id[7:] for diff_id in image.diff_ids)
    fetcher = Fetcher(store, lambda: client)
    for layer, diff_id in zip(found.layers, image.diff_ids, strict=True):
        with fetcher.open_blob(layer) as stream:
            data = b"".join(iter(lambda: stream.read(1000), b""))
        assert sha256(data) == stream.blob.digest
        assert stream.blob.diff_id == diff_id
    return found


@pytest.mark.parametrize("directory", [True, False], ids=["directory", "archive"])
def test_an_oci_layout(store: Store, client: Client, tmp_path: Path, directory: bool) -> None:
    path = written(tmp_path, IMAGE, ("app:v1",), directory)
    for tail in ("", ":v1", f"@{IMAGE.digest}", f":v1@{IMAGE.digest}", ":docker.io/library/app:v1"):
        if tail.count(":") > 1 and "/" in tail:
            continue
        assert check(store, client, f"oci-layout://{path}{tail}").digest == IMAGE.digest


def test_a_tag_that_the_layout_lacks(store: Store, client: Client, tmp_path: Path) -> None:
    path = written(tmp_path, IMAGE, ("app:v1", "app:v2"))
    with pytest.raises(ImageNotFound, match="no image named `v3`") as caught:
        check(store, client, f"oci-layout://{path}:v3")
    assert "it has docker.io/library/app:v1, docker.io/library/app:v2, v1, v2" in caught.value.notes
    with pytest.raises(ImageNotFound, match="no image named `latest`"):
        check(store, client, f"oci-layout://{path}")
    with pytest.raises(ImageNotFound, match=r"no sha256:0{64}"):
        check(store, client, f"oci-layout://{path}@sha256:{'0' * 64}")


def test_a_layout_of_several_platforms_without_names(store: Store, client: Client, tmp_path: Path) -> None:
    path = written(tmp_path, IMAGE)
    arm = sample({"a": b"arm"}, architecture="arm64")
    index = json.loads((path / "index.json").read_text())
    for digest, data in arm.blobs.items():
        (path / "blobs/sha256" / digest[7:]).write_bytes(data)
    entry = {**index["manifests"][0], "digest": arm.digest, "size": len(arm.blobs[arm.digest])}
    entry["platform"] = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    index["manifests"].append(entry)
    (path / "index.json").write_text(json.dumps(index))
    assert check(store, client, f"oci-layout://{path}").digest == IMAGE.digest
    assert ImageResolver(store, lambda: client).resolve(f"oci-layout://{path}", "linux/arm64").digest == arm.digest


def test_a_layout_that_changes_is_read_anew(store: Store, client: Client, tmp_path: Path) -> None:
    written(tmp_path, IMAGE)
    path = written(tmp_path, sample({"a": b"new"}))
    assert check(store, client, f"oci-layout://{path}", sample({"a": b"new"})).digest != IMAGE.digest


@pytest.mark.parametrize(
    "name", ["oci-layout", "index.json", "blobs/sha256/" + IMAGE.config[7:], "blobs/sha256/" + IMAGE.layers[0][7:]]
)
@pytest.mark.attack("R12")
def test_links_in_a_layout_are_not_followed(store: Store, client: Client, tmp_path: Path, name: str) -> None:
    path = written(tmp_path, IMAGE)
    (path / name).rename(tmp_path / "moved")
    (path / name).symlink_to(tmp_path / "moved")
    with pytest.raises(SourceError, match="not a regular file"):
        check(store, client, f"oci-layout://{path}")


@pytest.mark.attack("R12")
def test_a_linked_blob_directory_is_not_followed(store: Store, client: Client, tmp_path: Path) -> None:
    path = written(tmp_path, IMAGE)
    (path / "blobs/sha256").rename(tmp_path / "moved")
    (path / "blobs/sha256").symlink_to(tmp_path / "moved")
    with pytest.raises(SourceError):
        check(store, client, f"oci-layout://{path}")


@pytest.mark.attack("R12")
def test_a_fifo_does_not_hang(store: Store, client: Client, tmp_path: Path) -> None:
    path = written(tmp_path, IMAGE)
    blob = path / "blobs/sha256" / IMAGE.config[7:]
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(SourceError, match="not a regular file"):
        check(store, client, f"oci-layout://{path}")


@pytest.mark.parametrize("which", [IMAGE.digest, IMAGE.config, IMAGE.layers[1]])
def test_damaged_blobs(store: Store, client: Client, tmp_path: Path, which: str) -> None:
    path = written(tmp_path, IMAGE)
    blob = path / "blobs/sha256" / which[7:]
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    with pytest.raises(DigestMismatch):
        check(store, client, f"oci-layout://{path}")
    assert not store.blobs.has(which)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("oci-layout", "{}"),
        ("oci-layout", '{"imageLayoutVersion": "2.0.0"}'),
        ("oci-layout", "nonsense"),
        ("index.json", "[]"),
        ("index.json", json.dumps({"schemaVersion": 2, "config": {}, "layers": []})),
        (
            "index.json",
            json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": "../x", "size": 1}]}),
        ),
    ],
)
def test_broken_layouts(store: Store, client: Client, tmp_path: Path, name: str, text: str) -> None:
    path = written(tmp_path, IMAGE)
    (path / name).write_text(text)
    with pytest.raises(SourceError):
        check(store, client, f"oci-layout://{path}")


def test_nothing_there(store: Store, client: Client, tmp_path: Path) -> None:
    for kind in ("oci-layout", "docker-archive"):
        with pytest.raises(ImageNotFound, match="No such file"):
            check(store, client, f"{kind}://{tmp_path}/missing")
    (tmp_path / "text").write_text("hello")
    for kind in ("oci-layout", "docker-archive"):
        with pytest.raises(SourceError, match="not an uncompressed tar archive"):
            check(store, client, f"{kind}://{tmp_path}/text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no `oci-layout`"):
        check(store, client, f"oci-layout://{tmp_path}/empty")


@pytest.mark.parametrize("names", [(), ("app:v1",)])
def test_our_own_docker_archive(store: Store, client: Client, tmp_path: Path, names: tuple[str, ...]) -> None:
    other = Store.open(str(tmp_path / "other"))
    IMAGE.put(other)
    export_docker(other, load(other, IMAGE.digest), str(tmp_path / "x.tar"), names=names)
    first = check(store, client, f"docker-archive://{tmp_path}/x.tar")
    if names:
        assert check(store, client, f"docker-archive://{tmp_path}/x.tar:app:v1").digest == first.digest
        with pytest.raises(ImageNotFound, match="no image named `app:v2`"):
            check(store, client, f"docker-archive://{tmp_path}/x.tar:app:v2")


def old_archive(path: Path, image: Sample, *, linked: bool = False) -> None:
    """As docker before 25 wrote it: `ID/layer.tar`, repeated layers as links."""
    tars = [layer_tar({"a": b"1"}), layer_tar({"b": b"2" * 5000})]
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        add("config.json", image.blobs[image.config])
        for number, tar in enumerate(tars):
            if linked:
                add(f"real{number}/layer.tar", tar)
                link = tarfile.TarInfo(f"{number}/layer.tar")
                link.type, link.linkname = tarfile.SYMTYPE, f"../real{number}/layer.tar"
                archive.addfile(link)
            else:
                add(f"{number}/layer.tar", tar)
        names = ["0/layer.tar", "1/layer.tar"]
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": None, "Layers": names}]).encode())


@pytest.mark.parametrize("linked", [False, True])
def test_an_old_docker_archive(store: Store, client: Client, tmp_path: Path, linked: bool) -> None:
    old_archive(tmp_path / "x.tar", IMAGE, linked=linked)
    check(store, client, f"docker-archive://{tmp_path}/x.tar")


@pytest.mark.attack("R12")
def test_an_archive_that_links_out(store: Store, client: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 2000)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, target in (("config.json", f"{tmp_path}/secret"), ("layer.tar", "../../../../etc/passwd")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        data = json.dumps([{"Config": "config.json", "Layers": ["layer.tar"]}]).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    with pytest.raises(SourceError, match=r"no `config\.json`"):
        check(store, client, f"docker-archive://{tmp_path}/x.tar")


def test_an_archive_that_changed_after_it_was_resolved(store: Store, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    old_archive(path, IMAGE)
    found = ImageResolver(store, lambda: client).resolve(f"docker-archive://{path}")
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DigestMismatch) as caught:
        Fetcher(store, lambda: client).ensure_blob(found.layers[0])
    assert caught.value.at == str(path)
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        Fetcher(store, lambda: client).ensure_blob(found.layers[0])


def test_a_relative_path_is_found_from_elsewhere(
    store: Store, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, IMAGE)
    monkeypatch.chdir(tmp_path)
    found = ImageResolver(store, lambda: client).resolve("oci-layout://layout")
    monkeypatch.chdir("/")
    assert Fetcher(store, lambda: client).ensure_blob(found.layers[0]) == IMAGE.layers[0]


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive", "oci"])
def test_what_skopeo_writes(store: Store, client: Client, tmp_path: Path, kind: str) -> None:
    need("skopeo")
    source = written(tmp_path, IMAGE)
    dest = tmp_path / "copy"
    name = ":app:v1" if kind == "docker-archive" else ":v1"
    subprocess.run(["skopeo", "copy", "--quiet", f"oci:{source}", f"{kind}:{dest}{name}"], check=True, timeout=60)
    scheme = "docker-archive" if kind == "docker-archive" else "oci-layout"
    check(store, client, f"{scheme}://{dest}{name}")
    check(store, client, f"{scheme}://{dest}")


def test_an_image_of_the_store(store: Store, client: Client) -> None:
    IMAGE.put(store)
    name = "docker.io/library/mine:1"
    assert load_image(store, name) is None
    store.images.set(name, IMAGE.digest)
    found = check(store, client, "mine:1")
    assert found.digest == IMAGE.digest
    assert load_image(store, IMAGE.digest, parse("linux/amd64")) == found.replace(reference=IMAGE.digest)
    assert load_image(store, name, parse("linux/s390x")) is None
    for layer, digest in zip(found.layers, IMAGE.layers, strict=True):
        store.layers.delete(layer)
        store.blobs.delete(digest)
    assert load_image(store, name) is None, "its layers can be had nowhere"
