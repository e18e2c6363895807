"""A store answers only those whose files have the owners that its layers were made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import StoreError
from buildkit_py.store.layers import LayerMeta
from buildkit_py.store.store import Store


def test_a_store_with_layers_is_for_one_mapping(store: Store) -> None:
    store.bind("0 1000 1 1 100000 65536")
    store.layers.add(LayerMeta("a" * 64, "a" * 64))
    store.bind("0 1000 1 1 100000 65536")
    with pytest.raises(StoreError, match="other user ids"):
        store.bind("one id")
    store.layers.delete("a" * 64)
    store.bind("one id")
    assert Path(store.root, "owners").read_text() == "one id"
    assert Store.open(store.root)


def test_a_note_that_was_torn_is_written_again(store: Store) -> None:
    Path(store.root, "owners").write_bytes(b"")
    store.layers.add(LayerMeta("a" * 64, "a" * 64))
    store.bind("root")
    assert Path(store.root, "owners").read_text() == "root"


@pytest.mark.parametrize(
    ("now", "hint"),
    [
        ("0 1000 1 1 100000 65536, 0 1000 1 1 100000 65536", "prune --all"),
        ("0 1000 1 1 200000 65536, 0 1000 1 1 200000 65536", "rm -r"),
        ("0 1000 1 1 100000 1000, 0 1000 1 1 100000 1000", "rm -r"),
        ("one id", "rm -r"),
        ("root", "prune --all"),
    ],
)
def test_the_hint_is_a_way_out(store: Store, now: str, hint: str) -> None:
    store.bind("0 1000 1 1 100000 10000, 0 1000 1 1 100000 10000")
    store.layers.add(LayerMeta("a" * 64, "a" * 64))
    with pytest.raises(StoreError, match="other user ids") as caught:
        store.bind(now)
    assert hint in caught.value.hint
