from __future__ import annotations

import calendar
import os
import re
import time

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


def test_old_builds_are_forgotten_but_for_the_newest_and_those_that_may_run(store: Store) -> None:
    ids = []
    for _ in range(8):
        ids.append(store.builds.create()[0])
        time.sleep(0.002)  # ids of one millisecond have no order
    middle = time.strptime(ids[4][:15], "%Y%m%d-%H%M%S")
    began = (calendar.timegm(middle) * 1000 + int(ids[4][16:19])) * 1_000_000
    store.builds.forget_old(began, keep=6)
    assert store.builds.all() == ids[:1:-1]
    store.builds.forget_old(began, keep=2)
    assert store.builds.all() == ids[:3:-1], "what began at that time or later may run still"
    store.builds.forget_old(time.time_ns() + 10**9, keep=2)
    assert store.builds.all() == ids[:5:-1]
    store.builds.forget_old(time.time_ns() + 10**9)
    assert len(store.builds.all()) == 2
