"""Images that nobody honest would make: busybox, and behind it any members of a tar and any configuration."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.behaviour.base_image import ENV, rootfs_tar
from tests.image.tars import END, LINK, SYMBOLIC, member, tar

_BUSYBOX = lru_cache(maxsize=1)(rootfs_tar)
__all__ = ["LINK", "SYMBOLIC", "image_layout", "link", "member", "tar"]


def link(name: str, target: str) -> bytes:
    """A symbolic link, to a place of any length."""
    data = target.encode()
    return member(name.encode(), SYMBOLIC, link=data, records=[(b"linkpath", data)] if len(data) > 100 else None)


def image_layout(path: Path, members: tuple[bytes, ...], config: dict[str, Any]) -> None:
    """An OCI layout of one image in two layers, busybox and the members, so that the second is laid over the first."""
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layers = [_BUSYBOX(), *([b"".join(members) + END] if members else [])]
    described = [put(data, "application/vnd.oci.image.layer.v1.tar") for data in layers]
    document = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Env": [ENV], "Cmd": ["sh"], **config},
        "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in described]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "a stranger"} for _ in described],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(document).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": described,
    }
    described_manifest = put(json.dumps(manifest).encode(), manifest["mediaType"])  # type: ignore[arg-type]
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    named = {**described_manifest, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
