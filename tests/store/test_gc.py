from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

import pytest

from buildkit_py.errors import StoreError
from buildkit_py.store.gc import prune
from buildkit_py.store.layers import LayerMeta
from buildkit_py.store.store import Store
from buildkit_py.store.verify import verify
from tests.store.samples import OLD, add_failed, add_image, add_layer, add_patched, add_record, age, contents

DAY = 86_400


def counts(store: Store, all: bool = False) -> dict[str, int]:
    return {share.kind: share.count for share in prune(store, all)}


def fill(store: Store) -> tuple[LayerMeta, LayerMeta]:
    """An image of one layer, and a record whose snapshot has another layer on top of it."""
    base, top = add_layer(store, "base"), add_layer(store, "top")
    add_image(store, "image", base)
    add_record(store, "step", top.id, add_record(store, "base step", base.id).snapshot)
    return base, top


def test_fresh_things_stay(store: Store) -> None:
    fill(store)
    before = contents(store)
    assert counts(store) == {}
    assert contents(store) == before


def test_prune_all_leaves_an_empty_store(store: Store) -> None:
    fill(store)
    store.mounts.acquire("cache").release()
    store.builds.create()
    add_failed(store, "state")
    Path(store.path("memo", "x")).touch()
    os.mkdir(store.path("scans", "ab"))
    Path(store.path("scans", "ab", "x")).touch()
    Path(store.path("sources", "x")).touch()
    Path(store.path("quarantine", "x")).touch()
    Path(store.path("locks", "step-dead")).touch()
    Path(store.path("inuse", "1-dead")).touch()
    gone = counts(store, all=True)
    assert gone == {
        "images": 1,
        "records": 2,
        "snapshots": 2,
        "layers": 2,
        "blobs": 4,
        "mounts": 1,
        "builds": 1,
        "failed": 1,
        "memo": 1,
        "scans": 1,
        "sources": 1,
        "quarantine": 1,
    }
    assert contents(store) == set()
    assert sum(share.bytes for share in prune(store, True)) == 0
    fill(store)
    assert verify(store) == ()


def test_old_records_go_with_all_that_only_they_need(store: Store) -> None:
    base, top = fill(store)
    age(store)
    assert counts(store) == {"records": 2, "snapshots": 2, "layers": 1, "blobs": 1}
    assert store.images.get("image")
    assert store.layers.any_blob(base.id)
    assert store.layers.tree(base.id)
    assert store.layers.get(top.id) is None
    assert verify(store) == ()
    assert counts(store) == {}


def test_a_patch_keeps_the_layer_that_it_is_a_patch_of(store: Store) -> None:
    under = add_layer(store, "older", packed=False)
    patch = add_patched(store, "newer", under)
    image_layer = add_layer(store, "base")
    add_image(store, "image", image_layer)
    add_record(store, "step", patch.id)
    age(store)
    store.records.get(next(record.key for _, record in store.records.all()))
    assert "layers" not in counts(store)
    assert len(store.layers.trees(patch.id)) == 2
    assert verify(store) == ()
    age(store)
    assert counts(store)["layers"] == 2
    assert store.layers.get(under.id) is None


def test_using_a_patch_is_using_what_it_lies_on(store: Store) -> None:
    under = add_layer(store, "older", packed=False)
    patch = add_patched(store, "newer", under)
    age(store)
    with store.hold():
        assert store.layers.get(patch.id)
        assert store.layers.trees(patch.id)
        assert counts(store, all=True).get("layers", 0) == 0
    assert len(store.layers.trees(patch.id)) == 2


def test_a_record_used_within_a_week_keeps_what_it_needs(store: Store) -> None:
    _, top = fill(store)
    step = next(record for _, record in store.records.all() if record.name == "step")
    age(store)
    recent = time.time() - 6 * DAY
    os.utime(store.records.path(step.key), (recent, recent))
    assert counts(store) == {"records": 1}  # that of the base, which nothing asked for
    assert store.snapshots.layers(step.snapshot)
    assert store.layers.any_blob(top.id)
    assert verify(store) == ()


def test_blobs_of_a_name_that_moved_go(store: Store) -> None:
    add_image(store, "image", add_layer(store, "one"))
    add_image(store, "image", add_layer(store, "two"))
    age(store)
    assert counts(store) == {"layers": 1, "blobs": 3}
    assert verify(store) == ()


def test_a_pulled_layer_stays_by_its_diff_id_before_it_is_fetched(store: Store) -> None:
    layer = add_layer(store, "one")
    add_image(store, "image", layer)
    pulled = LayerMeta(layer.diff_id[7:], layer.diff_id[7:], origin=("registry",))
    store.layers.add(pulled)
    age(store)
    assert counts(store) == {}
    assert store.layers.present(pulled.id)


def test_what_a_running_build_used_stays_even_with_all(store: Store) -> None:
    _, top = fill(store)
    other = add_layer(store, "other")
    age(store)
    build = Store.open(store.root)
    with build.hold():
        record = next(record for _, record in build.records.all() if record.name == "step")
        assert build.records.get(record.key)
        fresh = add_layer(build, "fresh")
        assert counts(store, all=True) == {"images": 1, "records": 1, "layers": 1, "blobs": 3}
        assert build.snapshots.layers(record.snapshot)[-1] == top.id
        assert build.layers.any_blob(top.id)
        assert build.layers.tree(top.id)
        assert build.layers.tree(fresh.id)
        assert build.layers.get(other.id) is None
        assert verify(store) == ()
    assert counts(store, all=True) == {"records": 1, "snapshots": 2, "layers": 3, "blobs": 3}
    assert contents(store) == set()


def test_each_way_of_use_keeps(store: Store) -> None:
    base, top = fill(store)
    third = add_layer(store, "third")
    loose = store.blobs.put(b"loose")
    age(store)
    build = Store.open(store.root)
    with build.hold():
        assert build.layers.get(top.id)
        assert build.blobs.has(loose)
        assert build.images.get("image")
        assert build.snapshots.push("", third.id)
        assert counts(store, all=True) == {"records": 2, "snapshots": 2}
        assert build.blobs.read(loose) == b"loose"
        assert build.layers.tree(top.id)
        assert build.layers.any_blob(top.id)
        assert build.layers.any_blob(base.id)
        assert build.layers.tree(third.id)


def test_the_hold_of_a_killed_build_is_none(store: Store) -> None:
    fill(store)
    path = Path(store.path("inuse", "123-dead"))
    path.touch()
    os.utime(path, (OLD, OLD))
    assert counts(store, all=True)["records"] == 2
    assert not path.exists()


@pytest.mark.attack("S22", "K9")
def test_nothing_goes_when_the_clock_ran_backwards_under_a_build(store: Store) -> None:
    fill(store)
    age(store)
    with store.hold():
        name = os.listdir(store.path("inuse"))[0]
        future = time.time() + 1000
        os.utime(store.path("inuse", name), (future, future))
        assert counts(store, all=True) == {}


def test_cache_mounts_and_logs_have_a_month(store: Store) -> None:
    with store.mounts.acquire("held") as held:
        store.mounts.acquire("free").release()
        store.builds.create()
        appended = Path(store.builds.create()[1], "log")
        appended.touch()
        for days, expected in ((29, {}), (31, {"mounts": 1, "builds": 1})):
            past = int(time.time() - days * DAY)
            age(store, past)
            os.utime(appended)
            os.utime(os.path.dirname(held.path) + "/meta")
            assert counts(store) == expected
    assert [id for id, _ in store.mounts.all()] == ["held"]


def test_leftovers_of_the_dead_go_and_are_counted(store: Store) -> None:
    os.makedirs(store.path("work", "dead", "upper"))
    Path(store.path("work", "dead", "upper", "file")).write_bytes(b"x" * 100_000)
    shares = prune(store)
    assert [share.kind for share in shares] == ["work"]
    assert shares[0].bytes >= 100_000


def test_pruning_beside_builds_never_breaks_one(store: Store) -> None:
    """Builds look records up, make what is missing and read it back, while another process prunes everything."""
    stop = threading.Event()
    failures: list[str] = []
    rounds = [0] * 3

    def build(number: int) -> None:
        while not stop.is_set():
            mine = Store.open(store.root)
            with mine.hold():
                for step in range(4):
                    name = f"step {step}"
                    key = next((k for k, r in mine.records.all() if r.name == name), "")
                    record = mine.records.get(key) if key else None
                    if (
                        record is None
                        or not mine.layers.present(record.layer)
                        or not mine.snapshots.has(record.snapshot)
                    ):
                        record = add_record(mine, name, add_layer(mine, name).id)
                    layers = mine.snapshots.layers(record.snapshot)
                    for layer in layers:
                        tree = mine.layers.tree(layer)
                        if tree is None or os.listdir(tree) != ["file"]:
                            failures.append(f"{name}: {tree}")
            rounds[number] += 1

    builders = [threading.Thread(target=build, args=(n,)) for n in range(3)]
    for builder in builders:
        builder.start()
    for _ in range(25):
        prune(store, all=True)
    stop.set()
    for builder in builders:
        builder.join()
    assert failures == []
    assert all(rounds)
    assert verify(store) == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_what_cannot_be_removed_keeps_nothing_else(store: Store) -> None:
    prune(store, True)  # loads what the other user may not be able to read
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        store = Store.open(f"{top}/store")
        trees = [store.layers.tree(add_layer(store, name).id) for name in ("one", "two", "three")]
        for base, directories, names in os.walk(store.root):
            for name in (".", *directories, *names):
                os.chown(f"{base}/{name}", 1234, 1234)
        assert trees[0] is not None
        os.chmod(trees[0], 0o755)
        os.chown(trees[0], 4321, 4321)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setuid(1234)
                prune(Store.open(store.root), True)
            except StoreError as problem:
                code = 0 if "cannot prune all of the store" in problem.message else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not os.listdir(store.layers.dir)
        assert not list(store.blobs.all())
