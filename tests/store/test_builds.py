from __future__ import annotations

import os
import re

import pytest

from buildkit_py.store.store import Store


def test_creating_listing_deleting(store: Store) -> None:
    made = [store.builds.create() for _ in range(3)]
    for id, path in made:
        assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", id)
        assert path == store.builds.path(id)
        assert os.stat(path).st_mode & 0o777 == 0o700
    assert store.builds.all() == sorted((id for id, _ in made), reverse=True)
    assert store.builds.delete(made[0][0])
    assert not store.builds.delete(made[0][0])
    assert len(store.builds.all()) == 2


@pytest.mark.parametrize("id", ["", "..", "a/b", "A"])
def test_only_ids_are_paths(store: Store, id: str) -> None:
    with pytest.raises(ValueError, match="not a build id"):
        store.builds.delete(id)
