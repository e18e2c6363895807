"""The content of a filesystem follows from its layers, and each further layer costs one look."""

from __future__ import annotations

import pytest

from buildkit_py.errors import StoreCorrupt
from buildkit_py.store.chain import chain, content_of
from buildkit_py.store.layers import LayerMeta
from buildkit_py.store.store import Store


def _layers(store: Store, *empty: bool) -> list[str]:
    ids = [f"{number:064x}" for number in range(1, len(empty) + 1)]
    for id, is_empty in zip(ids, empty, strict=True):
        store.layers.add(LayerMeta(id, id, empty=is_empty))
    return ids


def test_a_layer_that_changes_nothing_adds_nothing(store: Store) -> None:
    one, two, three = _layers(store, False, True, False)
    expected = chain(chain("", one, False), three, False)
    assert content_of(store, store.snapshots.push_all("", (one, two, three))) == expected
    assert content_of(store, "") == ""


def test_only_what_is_on_top_is_looked_at(store: Store) -> None:
    one, two = _layers(store, False, False)
    base = store.snapshots.push("", one)
    content_of(store, base)
    store.layers.delete(one)
    assert content_of(store, store.snapshots.push(base, two)) == chain(chain("", one, False), two, False)


def test_an_unknown_layer_is_damage(store: Store) -> None:
    (one,) = _layers(store, False)
    snapshot = store.snapshots.push_all("", (one, "f" * 64))
    with pytest.raises(StoreCorrupt, match="gone"):
        content_of(store, snapshot)
