"""Layers as other engines read them: an image of one of ours, unpacked by umoci and copied by skopeo."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from buildkit_py.image.entry import DIR, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.image.overlay_diff import diff
from tests.image.layers import AS_ROOT, file, one_of_each, packed
from tests.needs import need

pytestmark = pytest.mark.peers


def layout(root: Path, entries: list[Entry], compression: str) -> Path:
    """An OCI layout with one image, tagged `x`, of one layer."""
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    result, blob = packed(entries, compression=compression)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    oci = "application/vnd.oci.image"
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [result.diff_id]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": put(json.dumps(config).encode(), f"{oci}.config.v1+json"),
        "layers": [put(blob, result.media_type)],
    }
    listed = put(json.dumps(manifest).encode(), f"{oci}.manifest.v1+json")
    listed["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return root


def plain(entries: list[Entry]) -> list[Entry]:
    """What an unpacked root has of a layer: no whiteouts, nothing opaque."""
    return [
        entry._replace(source="", data=None, digest=None, opaque=False)
        for entry in entries
        if entry.kind in (FILE, DIR, SYMLINK, HARDLINK)
    ]


@pytest.mark.skipif(not AS_ROOT, reason="umoci keeps owners as root only")
@pytest.mark.parametrize("compression", ["gzip", "none"])  # the umoci of today's distributions reads no zstd
def test_umoci_unpacks_what_we_packed(tmp_path: Path, compression: str) -> None:
    need("umoci")
    image = layout(tmp_path / "image", one_of_each(), compression)
    done = subprocess.run(
        ["umoci", "unpack", "--image", f"{image}:x", tmp_path / "bundle"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = plain(sorted(one_of_each(), key=lambda entry: os.fsencode(entry.path)))
    assert plain(diff(str(tmp_path / "bundle/rootfs"), hash_files=False)) == expected


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_skopeo_copies_and_recompresses_what_we_packed(tmp_path: Path, compression: str) -> None:
    need("skopeo")
    image = layout(tmp_path / "image", [file("f", b"x" * 5000), *one_of_each()], compression)
    # To docker's own format skopeo must take each layer apart and check its diff_id.
    subprocess.run(
        ["skopeo", "copy", "--insecure-policy", "-q", f"oci:{image}:x", f"docker-archive:{tmp_path}/out.tar:x:y"],
        check=True,
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (tmp_path / "out.tar").stat().st_size > 5000
