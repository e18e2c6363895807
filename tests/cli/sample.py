"""A small image in a store, made of its documents alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from buildkit_py.image import document, manifest
from buildkit_py.image.config import History, ImageConfig, ImageDocument
from buildkit_py.image.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, Manifest
from buildkit_py.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def put_image(home: Path, *names: str, created: str = "2024-05-06T07:08:09Z", cmd: str = "true") -> str:
    """Put an image under its full names into the store of `home`; its manifest's digest."""
    store = Store.open(f"{home}/store")
    layer = b"layer of " + cmd.encode()
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = document.dump(
        ImageDocument(
            "amd64",
            "linux",
            ImageConfig(env=(("PATH", "/bin"),), cmd=(cmd,), labels=(("a", "b"),)),
            (diff_id,),
            (
                History("COPY . / # buildkit", created="2024-05-06T07:08:08Z"),
                History(f'CMD ["{cmd}"]', empty_layer=True, created=created),
            ),
            created=created,
        )
    )
    data = manifest.dump(
        Manifest(
            OCI_MANIFEST,
            Descriptor(OCI_CONFIG, store.blobs.put(config), len(config)),
            (Descriptor(OCI_LAYER, store.blobs.put(layer), len(layer)),),
        )
    )
    digest = store.blobs.put(data)
    for name in names:
        store.images.set(name, digest)
    return digest
