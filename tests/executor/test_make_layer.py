"""Making layers: the same one whichever way it is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.executor.make_layer import from_directory, from_entries
from buildkit_py.image.overlay_diff import diff
from buildkit_py.store.store import Store


def upper(store: Store, name: str) -> str:
    """What a step wrote, on the store's filesystem, with everything that a user may write."""
    top = Path(store.work.root) / name
    (top / "usr" / "lib").mkdir(parents=True)
    (top / "big").write_bytes(bytes(range(256)) * 20_000)
    (top / "usr" / "small").write_text("small\n")
    (top / "usr" / "small").chmod(0o640)
    (top / "usr" / "empty").touch()
    (top / "usr" / "lib" / "link").symlink_to("../small")
    os.link(top / "big", top / "usr" / "second")
    for path in (*top.rglob("*"), top):
        os.utime(path, ns=(10**18 + 123, 10**18 + 123), follow_symlinks=False)
    return str(top)


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    return Store.open(str(tmp_path / "one")), Store.open(str(tmp_path / "two"))


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_one_read_gives_the_layer_and_the_blob_that_two_give(stores: tuple[Store, Store], compression: str) -> None:
    one, two = stores
    packed = from_directory(one, "", upper(one, "upper"), impure=False, compression=compression)
    plain = from_directory(two, "", upper(two, "upper"), impure=False)
    assert (packed.id, packed.bytes) == (plain.id, plain.bytes)
    assert two.layers.variants(plain.id) == []
    later = from_entries(
        two, "", diff(str(two.layers.tree(plain.id)), hash_files=False), compression=compression, impure=False
    )
    assert (later.id, later.bytes) == (plain.id, plain.bytes)
    blob = one.layers.blob(packed.id, compression)
    assert blob is not None
    assert blob == two.layers.blob(plain.id, compression)
    assert len(one.blobs.read(blob.digest)) == blob.size
    meta = one.layers.get(packed.id)
    assert meta is not None
    assert meta.diff_id == blob.diff_id
    assert one.layers.tree(packed.id) is not None


def test_a_step_that_wrote_nothing_has_no_blob(stores: tuple[Store, Store]) -> None:
    store = stores[0]
    empty = os.path.join(store.work.root, "nothing")
    os.mkdir(empty)
    layer = from_directory(store, "", empty, impure=False, compression="zstd")
    meta = store.layers.get(layer.id)
    assert meta is not None
    assert meta.empty
    assert store.layers.variants(layer.id) == []
