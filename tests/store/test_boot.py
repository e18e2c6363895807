from __future__ import annotations

import os
from pathlib import Path

from buildkit_py.store.boot import boot_id, mark_bytes, now_of, read_mark, this_boot, write_mark
from buildkit_py.store.store import Store


def test_a_new_store_has_a_mark_of_this_boot_with_nothing_on_disk(store: Store) -> None:
    assert read_mark(store.root) == (boot_id(), 0)
    assert boot_id()


def test_marking_covers_what_came_before_and_not_what_comes_after(store: Store) -> None:
    before = store.blobs.put(b"before")
    while now_of(store.work) <= os.stat(store.blobs.path(before)).st_ctime_ns:
        pass  # the clock of files ticks every few milliseconds
    store.mark_synced()
    after = store.blobs.put(b"after")
    synced = this_boot(store.root)
    assert synced is not None
    assert os.stat(store.blobs.path(before)).st_ctime_ns < synced <= os.stat(store.blobs.path(after)).st_ctime_ns
    assert os.listdir(os.path.dirname(store.work.scratch_name())) == []


def test_a_damaged_mark_counts_as_none(store: Store) -> None:
    store.mark_synced()
    for data in (b"", b"x", b"id text\n" * 2, b"id 1\n", b"id 1\nid 2\n", mark_bytes(boot_id(), 1)[:-1], b"\xff" * 80):
        Path(store.root, "boot").write_bytes(data)
        assert read_mark(store.root) == ("", 0)
        assert this_boot(store.root) is None
    Store.open(store.root)
    assert read_mark(store.root) == (boot_id(), 0)


def test_a_mark_from_the_future_is_not_believed(store: Store) -> None:
    write_mark(store.work, 2**62)
    Store.open(store.root)
    assert this_boot(store.root) == 0
