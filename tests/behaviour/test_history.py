"""What an image says of how and when it came to be, where its base image says little."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit_py.image.config import History, ImageConfig, ImageDocument
from buildkit_py.image.document import dump
from buildkit_py.image.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest
from buildkit_py.image.manifest import dump as manifest_bytes
from buildkit_py.store.store import Store
from tests.cli.process import pybuild

EMPTY_TAR = bytes(10240)
DOCKERFILE = 'FROM base\nENV A=1\nCOPY f /f\nCMD ["sh"]\n'


@pytest.mark.parametrize("said", [(), (History("old"), History("older", empty_layer=True))])
def test_a_base_without_times(tmp_path: Path, said: tuple[History, ...]) -> None:
    store = Store.open(f"{tmp_path}/store")
    layer = store.blobs.put(EMPTY_TAR)
    config = dump(ImageDocument("amd64", "linux", ImageConfig(), (layer,), said))
    manifest = Manifest(
        OCI_MANIFEST,
        Descriptor(OCI_CONFIG, store.blobs.put(config), len(config)),
        (Descriptor(OCI_LAYER, layer, len(EMPTY_TAR)),),
    )
    store.images.set("docker.io/library/base:latest", store.blobs.put(manifest_bytes(manifest)))
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "f").write_text("f")
    argv = ("build", "-q", "--platform=linux/amd64", "-o", "type=oci,tar=false,dest=out", ".")

    def history(**env: str) -> list[dict[str, object]]:
        done = pybuild(tmp_path, *argv, **env)
        assert done.returncode == 0, done.stderr
        digest = done.stdout.strip().removeprefix("sha256:")
        found = json.loads((tmp_path / "out/blobs/sha256" / digest).read_text())
        document = json.loads((tmp_path / "out/blobs/sha256" / found["config"]["digest"][7:]).read_text())
        assert len([entry for entry in document["history"] if not entry.get("empty_layer")]) == 2
        return document["history"]

    for entries in (history(), history(SOURCE_DATE_EPOCH="1700000000")):
        base, own = entries[:-3], entries[-3:]
        assert all(entry.get("created", "") in ("", "0001-01-01T00:00:00Z") for entry in base)
        assert own[1]["created"]
        assert own[1]["created"] == own[2]["created"]
    assert own[1]["created"] == "2023-11-14T22:13:20Z"
