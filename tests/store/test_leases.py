from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from buildkit_py.store.boot import now_of
from buildkit_py.store.store import Store
from tests.store.samples import OLD


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


def test_nobody_renews_between_prune_s_look_and_its_move(store: Store, tmp_path: Path) -> None:
    thing = tmp_path / "thing"
    thing.touch()
    os.utime(thing, (OLD, OLD))
    renewer = threading.Thread(target=store.leases.renew, args=(str(thing),))
    with store.leases.unrenewed():
        renewer.start()
        while not re.search(rf"-> FLOCK .* {os.getpid()} ", Path("/proc/locks").read_text()):
            assert renewer.is_alive(), "it did not wait"
        assert thing.stat().st_mtime == OLD
    renewer.join()
    assert thing.stat().st_mtime > OLD


def test_a_hold_that_nobody_released_ends_with_its_process(store: Store) -> None:
    """As where a signal came before there was a `with`."""
    program = (
        "import os, sys; from buildkit_py.store.store import Store\n"
        "store = Store.open(sys.argv[1]); hold = store.hold()\n"
        "if os.fork() == 0: sys.exit()\n"
        "os.wait(); print(len(os.listdir(store.path('inuse'))))"
    )
    done = subprocess.run([sys.executable, "-c", program, store.root], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "1"  # a child that ends leaves it alone
    assert os.listdir(store.path("inuse")) == []
