from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.digest import key_of
from buildkit_py.errors import StoreCorrupt
from buildkit_py.store.store import Store

A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_pushing_and_reading(store: Store) -> None:
    one = store.snapshots.push("", A)
    assert one == key_of("snapshot", "", A)
    three = store.snapshots.push_all(one, [B, A])
    assert store.snapshots.push_all(one, [B, A]) == three
    for snapshots in (store.snapshots, Store.open(store.root).snapshots):
        assert snapshots.layers("") == ()
        assert snapshots.layers(one) == (A,)
        assert snapshots.layers(three) == (A, B, A)
        assert snapshots.depth(three) == 3
        assert snapshots.parent(one) == ""
        assert snapshots.has(three)
    assert {(link[1], link[2], link[3]) for link in store.snapshots.all()} == {
        ("", A, 1),
        (one, B, 2),
        (store.snapshots.parent(three), A, 3),
    }
    assert store.snapshots.push("", B) != one


def test_order_matters(store: Store) -> None:
    assert store.snapshots.push_all("", [A, B]) != store.snapshots.push_all("", [B, A])


def test_thousands_of_layers(store: Store) -> None:
    layers = [f"{n:064x}" for n in range(3000)]
    top = store.snapshots.push_all("", layers)
    assert Store.open(store.root).snapshots.layers(top) == tuple(layers)


@pytest.mark.parametrize("damage", ["absent", "flip", "truncated", "another's"])
def test_a_broken_link_is_noticed(store: Store, damage: str) -> None:
    one, two, three = (store.snapshots.push_all("", [A, B, C][:n]) for n in (1, 2, 3))
    path = Path(store.snapshots.path(two))
    data = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "truncated":
        path.write_bytes(data[:-1])
    else:
        path.write_bytes(Path(store.snapshots.path(one)).read_bytes())
    again = Store.open(store.root)
    assert again.snapshots.layers(one) == (A,)
    for id in (two, three):
        with pytest.raises(StoreCorrupt, match=two):
            again.snapshots.layers(id)
        assert not again.snapshots.has(id)
    with pytest.raises(StoreCorrupt):
        again.snapshots.push(two, C)
    assert again.snapshots.push(one, B) == two
    assert again.snapshots.layers(three) == (A, B, C)


def test_deleting(store: Store) -> None:
    one = store.snapshots.push("", A)
    assert store.snapshots.delete(one)
    assert not store.snapshots.delete(one)
    assert not store.snapshots.has(one)


@pytest.mark.parametrize("id", ["x", "..", "A" * 64])
def test_only_ids_are_names(store: Store, id: str) -> None:
    with pytest.raises(ValueError, match="hex"):
        store.snapshots.layers(id)
    with pytest.raises(ValueError, match="hex"):
        store.snapshots.push(id, A)
    with pytest.raises(ValueError, match="not a layer id"):
        store.snapshots.push("", id)
