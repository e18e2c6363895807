from __future__ import annotations

import os
from pathlib import Path

from buildkit_py.store.failed_states import KEPT
from buildkit_py.store.gc import prune
from buildkit_py.store.store import Store
from tests.store.samples import add_failed, contents


def content(store: Store, name: str) -> bytes | None:
    state = store.failed.open(name)
    if state is None:
        return None
    with state:
        return Path(state.path, "file").read_bytes()


def test_the_newest_of_a_name_is_kept(store: Store) -> None:
    assert store.failed.all() == []
    add_failed(store, "a", b"first")
    add_failed(store, "b", b"other")
    add_failed(store, "a", b"second")
    assert content(store, "a") == b"second"
    assert content(store, "b") == b"other"
    assert content(store, "c") is None
    assert len(store.failed.all()) == 2


def test_only_the_newest_few_are_kept(store: Store) -> None:
    for number in range(KEPT + 3):
        add_failed(store, f"state {number}")
    names = [store.failed.name(id) for id in store.failed.all()]
    assert names == [f"state {number}" for number in range(KEPT + 2, 2, -1)]


def test_who_looks_into_one_keeps_it(store: Store) -> None:
    add_failed(store, "a", b"first")
    held = store.failed.open("a")
    assert held is not None
    with held:
        for name in ("a", *(f"state {number}" for number in range(KEPT))):
            add_failed(Store.open(store.root), name, b"second")
        prune(store, all=True)
        assert Path(held.path, "file").read_bytes() == b"first"
        assert len(store.failed.all()) == 1
    prune(store)
    assert contents(store) == set()


def test_a_damaged_one_has_no_name_and_goes(store: Store) -> None:
    add_failed(store, "a")
    id = store.failed.all()[0]
    Path(store.failed.path(id), "meta").write_bytes(b"torn")
    assert content(store, "a") is None
    assert store.failed.name(id) == ""
    os.mkdir(store.path("failed", "no id"))
    assert store.failed.all() == [id]
    assert [(share.kind, share.count) for share in prune(store, dry_run=True)] == [("failed", 1)]
    assert [(share.kind, share.count) for share in prune(store)] == [("failed", 1)]
    assert store.failed.delete(id) is False
