"""Eviction: the store comes below its limit, what saves least for its room goes first, and what is needed stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from buildkit_py.digest import blake3_hex, key_of
from buildkit_py.store.containers import About
from buildkit_py.store.evict import counted_bytes, evict
from buildkit_py.store.layers import LayerMeta
from buildkit_py.store.records import StepRecord
from buildkit_py.store.store import Store
from tests.store.samples import add_failed, add_image, add_layer

OLD = 1_600_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def step(store: Store, name: str, size: int, milliseconds: int, parent: str = "", used: int = OLD) -> StepRecord:
    """A record of a layer with one file of that size, last used at that time; the snapshot is on its parent."""
    meta = LayerMeta(blake3_hex(name.encode()), blake3_hex(b"content " + name.encode()), entries=1, size=size)
    with store.work_dir("sample") as work:
        tree = Path(work.path, "upper")
        tree.mkdir()
        (tree / "file").write_bytes(os.urandom(size))
        store.layers.add(meta, str(tree))
    snapshot = store.snapshots.push(parent, meta.id)
    key = key_of("sample", name)
    record = StepRecord(key, "run", snapshot, meta.id, definition=key, name=name, milliseconds=milliseconds)
    store.records.put(key, record)
    for path in (store.records.path(key), store.snapshots.path(snapshot), store.layers.path(meta.id) + "/meta"):
        os.utime(path, (used, used))
    return record


def total(store: Store) -> int:
    return counted_bytes(store)


def left(store: Store) -> set[str]:
    return {record.name for _, record in store.records.all()}


def test_nothing_goes_below_the_limit(store: Store) -> None:
    step(store, "a", 100_000, 10)
    before = total(store)
    done = evict(store, before)
    assert (done.before, done.after, done.gone) == (before, before, ())
    assert left(store) == {"a"}


def test_a_volume_is_not_counted_and_drives_nothing_out(store: Store) -> None:
    step(store, "a", 100_000, 10)
    before = total(store)
    with store.volumes.hold("data", lambda directory: None) as volume:
        path = volume.path
    (Path(path) / "large").write_bytes(bytes(1 << 20))
    assert total(store) == before
    evict(store, before)
    evict(store, 1)
    assert left(store) == set()
    assert [volume.name for volume in store.volumes.all()] == ["data"]
    assert (Path(path) / "large").stat().st_size == 1 << 20


def test_what_containers_wrote_is_not_counted_and_drives_nothing_out(store: Store) -> None:
    step(store, "a", 100_000, 10)
    before = total(store)
    path = store.containers.create(About("ab" * 32, "web", "image", ("true",), (), 1.0, {}))
    Path(path, "upper", "large").write_bytes(bytes(1 << 20))
    evict(store, before)
    assert left(store) == {"a"}
    assert [about.name for about in store.containers.all()] == ["web"]


def test_what_failed_steps_left_goes_first(store: Store) -> None:
    step(store, "worth little", 100_000, 1)
    add_failed(store, "state", os.urandom(100_000))
    os.utime(store.failed.path(store.failed.all()[0]), (OLD, OLD))
    gone = evict(store, total(store) - 10_000).gone
    assert {share.kind for share in gone} == {"failed"}
    assert left(store) == {"worth little"}
    assert store.failed.all() == []


def test_what_saves_least_for_its_room_goes_first(store: Store) -> None:
    step(store, "quick and large", 400_000, 10)
    step(store, "slow and large", 400_000, 60_000)
    step(store, "quick and small", 20_000, 10)
    done = evict(store, total(store) - 1)
    assert left(store) == {"slow and large", "quick and small"}
    assert done.after == total(store)
    assert {share.kind: share.count for share in done.gone} == {"records": 1, "snapshots": 1, "layers": 1}
    assert 400_000 <= sum(share.bytes for share in done.gone) <= done.before - done.after


def test_what_was_not_used_for_long_is_worth_less(store: Store) -> None:
    step(store, "old", 400_000, 1000)
    step(store, "new", 400_000, 1000, used=int(time.time()) - 3600)
    evict(store, total(store) - 1)
    assert left(store) == {"new"}


def test_what_others_stand_on_goes_after_them(store: Store) -> None:
    below = step(store, "below", 400_000, 1)
    step(store, "above", 400_000, 60_000, below.snapshot)
    evict(store, total(store) - 1)
    assert left(store) == {"below"}
    evict(store, 100_000)
    assert left(store) == set()
    assert total(store) <= 100_000
    assert not list(store.snapshots.all())
    assert not list(store.layers.all())


def test_a_named_image_stays(store: Store) -> None:
    layer = add_layer(store, "of the image")
    manifest = add_image(store, "docker.io/library/app:1", layer)
    step(store, "other", 400_000, 60_000)
    for path in Path(store.root).rglob("*"):
        os.utime(path, (OLD, OLD), follow_symlinks=False)
    evict(store, 1)
    assert left(store) == set()
    assert store.images.get("docker.io/library/app:1") == manifest
    assert store.layers.present(layer.id)
    assert store.blobs.has(manifest)


def test_what_a_build_uses_stays(store: Store) -> None:
    used = step(store, "used", 400_000, 1)
    step(store, "unused", 400_000, 60_000)
    builder = Store.open(store.root)
    with builder.hold():
        builder.records.get(used.key)
        builder.layers.use(used.layer)
        evict(store, 1)
        assert left(store) == {"used"}
        assert store.layers.present(used.layer)
        assert store.snapshots.has(used.snapshot)
    evict(store, 1)
    assert left(store) == set()


def test_cache_mounts_go_too(store: Store) -> None:
    with store.mounts.acquire("pip") as mount:
        Path(mount.path, "wheel").write_bytes(os.urandom(4_000_000))
    ((_, home),) = store.mounts.all()
    for path in (home, *Path(home).rglob("*")):
        os.utime(path, (OLD, OLD))
    step(store, "slow", 400_000, 600_000)
    evict(store, total(store) - 1)
    assert left(store) == {"slow"}
    assert not list(store.mounts.all())


def test_what_no_record_needs_goes_before_what_one_does(store: Store) -> None:
    record = step(store, "kept", 400_000, 1)
    orphan = step(store, "orphan", 400_000, 60_000)
    store.records.delete(orphan.key)
    evict(store, total(store) - 1)
    assert store.layers.present(record.layer)
    assert not store.layers.present(orphan.layer)
    assert left(store) == {"kept"}


def test_a_dry_run_says_what_would_go_and_removes_nothing(store: Store) -> None:
    """What no record needs goes first, and is counted neither twice nor among what is chosen after it."""
    orphan = step(store, "orphan", 400_000, 60_000)
    above = step(store, "above the orphan", 100_000, 60_000, orphan.snapshot)
    for record in (orphan, above):
        store.records.delete(record.key)
    step(store, "quick and large", 400_000, 10)
    step(store, "slow and large", 400_000, 60_000)
    for name, used in (("of long ago", OLD), ("of late", int(time.time()) - 3600)):
        with store.mounts.acquire(name) as mount:
            Path(mount.path, "wheel").write_bytes(os.urandom(300_000))
        home = dict(store.mounts.all())[name]
        for path in (home, *Path(home).rglob("*")):
            os.utime(path, (used, used))
    names, before = left(store), total(store)
    limit = before - 1_000_000  # the orphans and the mount of long ago are less
    would = evict(store, limit, dry_run=True)
    assert (left(store), total(store)) == (names, before)
    assert len(list(store.mounts.all())) == 2
    went = evict(store, limit)
    assert left(store) == {"slow and large"}
    assert sorted(would.gone, key=str) == sorted(went.gone, key=str)
    assert would.before == went.before
    assert would.before - would.after == sum(share.bytes for share in went.gone)
    assert evict(store, before, dry_run=True).gone == ()
