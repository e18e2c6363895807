"""Small images for tests, made from nothing but this file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, NamedTuple

from buildkit_py.image import document, manifest
from buildkit_py.image.config import History, ImageConfig, ImageDocument
from buildkit_py.image.manifest import Descriptor, Manifest

if TYPE_CHECKING:
    from buildkit_py.store.store import Store


class Sample(NamedTuple):
    """An image as the blobs it consists of: digest to bytes."""

    digest: str
    blobs: dict[str, bytes]
    layers: tuple[str, ...]
    config: str
    diff_ids: tuple[str, ...]

    def put(self, store: Store) -> str:
        """All blobs into a store; the manifest's digest."""
        for data in self.blobs.values():
            store.blobs.put(data)
        return self.digest


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_tar(files: dict[str, bytes]) -> bytes:
    """A plain tar with these files, and directories for them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def sample(
    *layers: dict[str, bytes], architecture: str = "amd64", compress: bool = True, env: str = "/bin", variant: str = ""
) -> Sample:
    """An image with one layer for each dictionary of files."""
    blobs: dict[str, bytes] = {}
    tars = [layer_tar(files) for files in layers or ({"hello": b"world\n"},)]
    descriptors = []
    for tar in tars:
        data = gzip.compress(tar, mtime=0) if compress else tar
        blobs[sha256(data)] = data
        kind = manifest.layer_media_type("gzip" if compress else "uncompressed")
        descriptors.append(Descriptor(kind, sha256(data), len(data)))
    diff_ids = tuple(sha256(tar) for tar in tars)
    config = document.dump(
        ImageDocument(
            architecture,
            "linux",
            ImageConfig(env=(("PATH", env),), cmd=("/hello",)),
            diff_ids,
            tuple(History(f"COPY {number}", created="2024-01-02T03:04:05Z") for number, _ in enumerate(tars)),
            variant=variant,
            created="2024-01-02T03:04:05Z",
        )
    )
    blobs[sha256(config)] = config
    data = manifest.dump(
        Manifest(
            manifest.OCI_MANIFEST,
            Descriptor(manifest.OCI_CONFIG, sha256(config), len(config)),
            tuple(descriptors),
        )
    )
    blobs[sha256(data)] = data
    return Sample(sha256(data), blobs, tuple(item.digest for item in descriptors), sha256(config), diff_ids)


def index_of(*images: tuple[Sample, str]) -> bytes:
    """An index of images for these platforms of Linux: architectures, some with a variant behind `/`."""
    entries = [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.digest,
            "size": len(image.blobs[image.digest]),
            "platform": {
                "os": "linux",
                **dict(zip(("architecture", "variant"), architecture.split("/"), strict=False)),
            },
        }
        for image, architecture in images
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
