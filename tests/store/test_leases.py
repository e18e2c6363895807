from __future__ import annotations

import os
from pathlib import Path

from buildkit_py.store.boot import now_of
from buildkit_py.store.store import Store


def test_the_oldest_living_holder_counts(store: Store) -> None:
    assert store.leases.oldest(123) == 123
    with store.hold() as first, Store.open(store.root).hold() as second:
        assert first.start <= second.start
        later = now_of(store.work)
        assert store.leases.oldest(later) == first.start
        first.release()
        first.release()
        assert store.leases.oldest(later) == second.start
    assert store.leases.oldest(later) == later
    assert os.listdir(store.path("inuse")) == []


def test_what_is_gone_is_not_renewed(store: Store) -> None:
    with store.hold():
        path = store.path("memo", "x")
        store.leases.renew(path)
        assert not os.path.exists(path)
        Path(path).touch()
        os.utime(path, (1, 1))
        store.leases.renew(path)
        assert os.stat(path).st_mtime > 1


def test_a_link_is_renewed_itself(store: Store) -> None:
    target = Path(store.path("memo", "target"))
    target.touch()
    os.utime(target, (1, 1))
    link = store.path("memo", "link")
    os.symlink("target", link)
    with store.hold():
        store.leases.renew(link)
    assert target.stat().st_mtime == 1
