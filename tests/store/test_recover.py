"""The machine went down: simulated by a mark with another boot's id, which is data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.store.boot import boot_id, mark_bytes, now_of, read_mark
from buildkit_py.store.store import Store
from buildkit_py.store.verify import verify
from tests.store.samples import add_failed, add_image, add_layer, add_record


def tick(store: Store) -> None:
    start = now_of(store.work)
    while now_of(store.work) == start:
        pass


def crash(store: Store) -> Store:
    """The store as it is opened first after a restart of the machine."""
    _, synced = read_mark(store.root)
    Path(store.root, "boot").write_bytes(mark_bytes("another-boot", synced))
    return Store.open(store.root)


@pytest.fixture
def marked(store: Store) -> Store:
    """A store with an image, a record and memos on disk, and the same again after the last sync."""
    for name in ("old", "new"):
        layer = add_layer(store, name)
        add_layer(store, name + " unpacked only", packed=False)
        add_record(store, name, layer.id)
        add_image(store, name, layer)
        add_failed(store, name)
        Path(store.path("memo", name)).touch()
        Path(store.path("scans", name)).touch()
        Path(store.path("sources", name)).touch()
        if name == "old":
            tick(store)
            store.mark_synced()
            tick(store)
    return store


def test_what_was_on_disk_stays_and_what_was_not_is_checked_or_dropped(marked: Store) -> None:
    layers = {n: add_layer(marked, n, packed="only" not in n).id for n in ("old", "new", "old unpacked only")}
    lost = add_layer(marked, "new unpacked only", packed=False).id
    torn = Path(marked.blobs.path(marked.blobs.put(b"torn")))
    torn.write_bytes(b"")
    sound = marked.blobs.put(b"sound")
    again = crash(marked)
    assert again.layers.tree(layers["old"])
    assert again.layers.tree(layers["old unpacked only"])
    assert again.layers.tree(layers["new"]) is None
    assert again.layers.tree(lost) is None
    assert again.layers.present(layers["new"])
    assert [again.failed.name(id) for id in again.failed.all()] == ["old"]
    assert not again.layers.present(lost)
    assert not torn.exists()
    assert again.blobs.read(sound) == b"sound"
    assert [name for name, _, _ in again.images.all()] == ["new", "old"]
    assert all(os.listdir(again.path(kind)) == ["old"] for kind in ("memo", "scans", "sources"))
    assert {record.name for _, record in again.records.all()} == {"old", "new"}
    problems = verify(again)
    assert [(problem.kind, problem.name) for problem in problems] == [("layer", lost)]


def test_torn_small_files_count_as_absent(marked: Store) -> None:
    for _, record in list(marked.records.all()):
        if record.name == "new":
            Path(marked.records.path(record.key)).write_bytes(b"")
            Path(marked.snapshots.path(record.snapshot)).write_bytes(b"")
            Path(marked.layers.path(record.layer), "meta").write_bytes(b"\0" * 100)
    Path(marked.images.path("new")).write_bytes(b"")
    again = crash(marked)
    assert [record.name for _, record in again.records.all()] == ["old"]
    assert [name for name, _, _ in again.images.all()] == ["old"]
    verify(again)
    assert verify(again) == ()


def test_it_happens_once_a_boot(marked: Store) -> None:
    crash(marked)
    assert read_mark(marked.root)[0] == boot_id()
    layer = add_layer(marked, "later", packed=False)
    assert Store.open(marked.root).layers.tree(layer.id)


def test_not_while_another_machine_holds_it(marked: Store) -> None:
    layer = add_layer(marked, "new")
    with marked.hold():
        assert crash(marked).layers.tree(layer.id)
        assert read_mark(marked.root)[0] == "another-boot"
    assert Store.open(marked.root).layers.tree(layer.id) is None
