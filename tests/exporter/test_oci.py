"""Layouts and archives as other tools read them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from buildkit_py.errors import ExportError, StoreError
from buildkit_py.exporter.docker import export_docker
from buildkit_py.exporter.image import Image, load
from buildkit_py.exporter.layout import header
from buildkit_py.exporter.oci import export_oci
from buildkit_py.image import document, manifest
from buildkit_py.image.config import ImageConfig, ImageDocument
from buildkit_py.image.manifest import Descriptor, Manifest
from buildkit_py.store.store import Store
from tests.images import layer_tar, sample, sha256
from tests.needs import need

SAMPLE = sample({"bin/hello": b"hi\n"}, {"etc/motd": b"x" * 100_000})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def image(store: Store) -> Image:
    SAMPLE.put(store)
    return load(store, SAMPLE.digest)


def run(*command: str) -> str:
    done = subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_archive_is_the_same_each_time_and_whole(store: Store, image: Image, tmp_path: Path) -> None:
    # Its own blobs a process sends on unread, those of others it reads.
    for name, process in (("a.tar", store), ("b.tar", Store.open(store.root))):
        export_oci(process, image, str(tmp_path / name), names=("app:1",))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        members = {member.name: member for member in archive}
        for digest, data in SAMPLE.blobs.items():
            file = archive.extractfile(members[f"blobs/sha256/{digest[7:]}"])
            assert file is not None
            assert file.read() == data
        assert all(member.mtime == 0 and member.uid == 0 for member in members.values())
        file = archive.extractfile("index.json")
        assert file is not None
        index = json.loads(file.read())
    assert index["manifests"][0]["annotations"] == {
        "io.containerd.image.name": "docker.io/library/app:1",
        "org.opencontainers.image.ref.name": "1",
    }
    assert index["manifests"][0]["platform"] == {"architecture": "amd64", "os": "linux"}
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o666 & ~mask
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "b.tar", "store"], "no temporary file is left"


def test_a_directory_is_written_over(store: Store, image: Image, tmp_path: Path) -> None:
    for _ in range(2):
        export_oci(store, image, str(tmp_path / "deep/er"), directory=True)
    assert (tmp_path / "deep/er/oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
    assert len(os.listdir(tmp_path / "deep/er/blobs/sha256")) == len(SAMPLE.blobs)


def test_standard_output(store: Store, image: Image, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from buildkit_py.store.store import Store\n"
        "from buildkit_py.exporter.image import load\n"
        "from buildkit_py.exporter.oci import export_oci\n"
        "store = Store.open(sys.argv[1])\n"
        "export_oci(store, load(store, sys.argv[2]), '-')\n"
    )
    export_oci(store, image, str(tmp_path / "file.tar"))
    done = subprocess.run([sys.executable, "-c", program, store.root, image.digest], check=True, capture_output=True)
    assert done.stdout == (tmp_path / "file.tar").read_bytes()


def test_a_damaged_blob_never_leaves(store: Store, image: Image, tmp_path: Path) -> None:
    path = Path(store.blobs.path(SAMPLE.layers[1]))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (tmp_path / "x.tar").write_text("old")
    with pytest.raises(StoreError, match="damaged"):
        export_oci(Store.open(store.root), image, str(tmp_path / "x.tar"))
    assert (tmp_path / "x.tar").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["store", "x.tar"]


def test_places_that_cannot_be_written(store: Store, image: Image, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="is a directory"):
        export_oci(store, image, str(tmp_path))
    with pytest.raises(ExportError, match="cannot be written"):
        export_oci(store, image, str(tmp_path / "file/x.tar"))
    with pytest.raises(ExportError, match="cannot be written"):
        export_oci(store, image, str(tmp_path / "file"), directory=True)
    with pytest.raises(ExportError, match="no space left") as caught:
        export_oci(store, image, "/dev/full")
    assert caught.value.hint


def test_a_link_stays_a_link(store: Store, image: Image, tmp_path: Path) -> None:
    (tmp_path / "link.tar").symlink_to("real.tar")
    export_oci(store, image, str(tmp_path / "link.tar"))
    assert (tmp_path / "link.tar").is_symlink()
    assert tarfile.is_tarfile(tmp_path / "real.tar")


@pytest.mark.peers
def test_skopeo_reads_them(store: Store, image: Image, tmp_path: Path) -> None:
    need("skopeo")
    export_oci(store, image, str(tmp_path / "oci.tar"), names=("app:1",))
    export_oci(store, image, str(tmp_path / "oci"), names=("app:1", "app:2"), directory=True)
    export_docker(store, image, str(tmp_path / "docker.tar"), names=("app:1", "h.example/b"))
    for source in (
        f"oci-archive:{tmp_path}/oci.tar",
        f"oci:{tmp_path}/oci:2",
        f"docker-archive:{tmp_path}/docker.tar:app:1",
    ):
        found = json.loads(run("skopeo", "inspect", source))
        assert found["Architecture"] == "amd64"
        assert len(found["Layers"]) == 2
        config = json.loads(run("skopeo", "inspect", "--config", source))
        assert config["rootfs"]["diff_ids"] == list(SAMPLE.diff_ids)
        run("skopeo", "copy", "--quiet", source, f"dir:{tmp_path}/copy")


@pytest.mark.peers
def test_umoci_unpacks_one(store: Store, image: Image, tmp_path: Path) -> None:
    need("umoci")
    export_oci(store, image, str(tmp_path / "oci"), names=("app:1",), directory=True)
    rootless = ["--rootless"] if os.geteuid() != 0 else []
    run("umoci", "unpack", *rootless, "--image", f"{tmp_path}/oci:1", f"{tmp_path}/bundle")
    assert (tmp_path / "bundle/rootfs/bin/hello").read_bytes() == b"hi\n"


def packed(store: Store, compression: str) -> Image:
    """An image whose one layer is packed in that way."""
    import zstandard

    tar = layer_tar({"hello": b"hi\n"})
    data = {"zstd": zstandard.ZstdCompressor().compress(tar), "uncompressed": tar}[compression]
    config = document.dump(ImageDocument("amd64", "linux", ImageConfig(cmd=("/hello",)), (sha256(tar),)))
    layer = Descriptor(manifest.layer_media_type(compression), store.blobs.put(data), len(data))
    made = Manifest(
        manifest.OCI_MANIFEST, Descriptor(manifest.OCI_CONFIG, store.blobs.put(config), len(config)), (layer,)
    )
    return load(store, store.blobs.put(manifest.dump(made)))


@pytest.mark.peers
@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_podman_loads_them(store: Store, image: Image, tmp_path: Path, compression: str, kind: str) -> None:
    need("podman")
    if os.geteuid() != 0:
        pytest.skip("podman's rootless set-up differs from machine to machine")
    if compression != "gzip":
        image = packed(store, compression)
    export = export_docker if kind == "docker" else export_oci
    export(store, image, str(tmp_path / "x.tar"), names=("pybuild-test/app:1",))
    podman = ["podman", "--root", f"{tmp_path}/root", "--runroot", f"{tmp_path}/run", "--storage-driver", "vfs"]
    run(*podman, "load", "-q", "-i", f"{tmp_path}/x.tar")
    name = run(*podman, "images", "--format", "{{.Repository}}:{{.Tag}}").split()
    if kind == "docker":
        assert name == ["docker.io/pybuild-test/app:1"]
    tree = run(*podman, "image", "mount", name[0]).split()[-1]
    assert (Path(tree) / ("bin/hello" if compression == "gzip" else "hello")).read_bytes() == b"hi\n"
    run(*podman, "image", "umount", "--all")


@pytest.mark.parametrize(("name", "kind"), [(f"blobs/sha256/{'a' * 64}", tarfile.REGTYPE), ("blobs/", tarfile.DIRTYPE)])
@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 1 << 50])
def test_headers_are_what_tarfile_writes(name: str, kind: bytes, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type = size, 0o755, kind
    assert header(name, size, info.mode, kind) == info.tobuf(tarfile.GNU_FORMAT)
