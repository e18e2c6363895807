from __future__ import annotations

import os
from pathlib import Path

from buildkit_py.store.store import Store
from buildkit_py.store.usage import disk_bytes, usage
from tests.store.samples import add_failed, add_image, add_layer, add_record


def test_counts_and_blocks_of_each_kind(store: Store) -> None:
    layer = add_layer(store, "one")
    add_layer(store, "two", packed=False)
    add_record(store, "one", layer.id)
    add_image(store, "image", layer)
    store.mounts.acquire("cache").release()
    add_failed(store, "state")
    big = store.blobs.put(os.urandom(1 << 20))
    shares = {share.kind: share for share in usage(store)}
    counts = {kind: share.count for kind, share in shares.items()}
    assert counts == {
        "blobs": 4,
        "layers": 2,
        "snapshots": 1,
        "records": 1,
        "images": 1,
        "mounts": 1,
        "builds": 0,
        "containers": 0,
        "failed": 1,
        "jobs": 0,
        "memo": 0,
        "scans": 0,
        "sources": 0,
        "volumes": 0,
        "work": 1,
        "quarantine": 0,
    }
    assert shares["blobs"].bytes >= os.stat(store.blobs.path(big)).st_blocks * 512 >= 1 << 20


def test_a_file_with_two_names_counts_once_and_holes_count_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(1 << 20))
    before = disk_bytes(str(tmp_path))
    os.link(tmp_path / "file", tmp_path / "again")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "link").symlink_to("/")
    assert before >= 1 << 20
    assert disk_bytes(str(tmp_path)) - before < 1 << 18
    assert disk_bytes(str(tmp_path / "absent")) == 0
