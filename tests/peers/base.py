"""The base image, an OCI layout, in the shapes that docker and these tests read."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path


def layout_archive(layout: Path, target: Path) -> Path:
    """The layout as a tar; `target`."""
    with tarfile.open(target, "w") as archive:
        for path in sorted(layout.rglob("*")):
            archive.add(path, str(path.relative_to(layout)), recursive=False)
    return target


def docker_archive(layout: Path, name: str = "busybox:latest") -> bytes:
    """What `docker load` reads."""
    manifest = json.loads(_blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0]))
    entry = {
        "Config": manifest["config"]["digest"].partition(":")[2] + ".json",
        "RepoTags": [name],
        "Layers": [layer["digest"].partition(":")[2] + "/layer.tar" for layer in manifest["layers"]],
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        files = {"manifest.json": json.dumps([entry]).encode(), entry["Config"]: _blob(layout, manifest["config"])}
        for path, layer in zip(entry["Layers"], manifest["layers"], strict=True):
            files[path] = _blob(layout, layer)
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _blob(layout: Path, descriptor: dict[str, str]) -> bytes:
    return (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
