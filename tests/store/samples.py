"""Things to put into a store: layers with files, records of steps, whole images."""

from __future__ import annotations

import json
import os
from pathlib import Path

from buildkit_py.digest import blake3_hex, key_of
from buildkit_py.image.content import content_digest
from buildkit_py.image.overlay_diff import diff
from buildkit_py.store.layers import LayerBlob, LayerMeta
from buildkit_py.store.records import StepRecord
from buildkit_py.store.store import Store

TAR = "application/vnd.oci.image.layer.v1.tar"
OLD = 1_600_000_000  # in 2020


def add_layer(store: Store, name: str, *, packed: bool = True, unpacked: bool = True) -> LayerMeta:
    """A layer with one file, as tree, as blob or as both; `name` decides all its digests."""
    content = f"layer {name}".encode()
    id = blake3_hex(content)
    diff_id = store.blobs.put(content) if packed else ""
    blob = ("tar", LayerBlob(diff_id, diff_id, len(content), TAR)) if packed else None
    meta = LayerMeta(id, blake3_hex(b"content " + content), entries=1, size=len(content), diff_id=diff_id)
    if not unpacked:
        return store.layers.add(meta, blob=blob)
    with store.work_dir("sample") as work:
        tree = Path(work.path, "upper")
        tree.mkdir()
        (tree / "file").write_bytes(content)
        meta = meta.replace(content=content_digest(diff(str(tree), hash_files=True)))
        return store.layers.add(meta, str(tree), blob)


def add_patched(store: Store, name: str, under: LayerMeta) -> LayerMeta:
    """A layer that is a patch of another one."""
    content = f"layer {name}".encode()
    meta = LayerMeta(blake3_hex(content), blake3_hex(b"content " + content), entries=1, size=len(content))
    with store.work_dir("sample") as work:
        patch = Path(work.path, "patch")
        (patch / "diff").mkdir(parents=True)
        (patch / "diff" / "file").write_bytes(content)
        store.layers.patch_of(under.id, str(patch))
        return store.layers.add(meta, patch=str(patch))


def add_failed(store: Store, name: str, content: bytes = b"half done") -> None:
    """What a step that failed left: a file."""
    with store.work_dir("sample") as work:
        upper = Path(work.path, "upper")
        upper.mkdir()
        (upper / "file").write_bytes(content)
        store.failed.keep(name, str(upper))


def add_record(store: Store, name: str, layer: str, parent: str = "") -> StepRecord:
    """A record of a step that put a layer on a snapshot."""
    snapshot = store.snapshots.push(parent, layer)
    record = StepRecord(
        key=key_of("sample", name),
        kind="run",
        snapshot=snapshot,
        layer=layer,
        definition=key_of("sample", name),
        parts=(("argv", "make"), ("base", b"\x00\xff", None, True, 12)),
        name=name,
        milliseconds=1500,
        bytes=100,
        created=OLD,
        tool="1",
    )
    store.records.put(record.key, record)
    return record


def add_image(store: Store, name: str, *layers: LayerMeta) -> str:
    """An image of layers that have blobs; its manifest's digest."""
    blobs = [found[1] for layer in layers if (found := store.layers.any_blob(layer.id)) is not None]
    assert len(blobs) == len(layers)
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [b.diff_id for b in blobs]}}).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"digest": store.blobs.put(config), "size": len(config)},
            "layers": [{"digest": b.digest, "size": b.size, "mediaType": b.media_type} for b in blobs],
        }
    ).encode()
    digest = store.blobs.put(manifest)
    store.images.set(name, digest)
    return digest


def age(store: Store, seconds: int = OLD) -> None:
    """Let everything in the store look as if it was last used long ago."""
    for base, dirs, files in os.walk(store.root):
        for name in dirs + files:
            os.utime(os.path.join(base, name), (seconds, seconds), follow_symlinks=False)


def contents(store: Store) -> set[str]:
    """Every file in the store but what is always there, relative to its root; scratch of living processes left out."""
    found = set()
    for base, _, files in os.walk(store.root):
        for name in files:
            path = os.path.relpath(os.path.join(base, name), store.root)
            if not path.startswith("work/"):
                found.add(path)
    return found - {"format", "boot"}
