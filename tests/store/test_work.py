from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from buildkit_py.errors import StoreError
from buildkit_py.store.store import Store
from buildkit_py.store.work import Work


def test_a_work_dir_is_private_and_goes(store: Store) -> None:
    with store.work_dir("step [web 2/5] ../../x") as work:
        assert os.path.dirname(work.path) == store.path("work")
        assert os.stat(work.path).st_mode & 0o777 == 0o700
        (Path(work.path) / "deep" / "tree").mkdir(parents=True)
    assert not os.path.exists(work.path)
    work.discard()


def test_a_kept_one_stays_while_this_process_lives(store: Store) -> None:
    with store.work_dir("kept") as work:
        work.keep()
    Store.open(store.root)
    assert os.path.isdir(work.path)
    work.discard()
    assert not os.path.exists(work.path)


def test_leftovers_of_a_killed_process_are_swept_and_those_of_the_living_not(store: Store) -> None:
    script = (
        "import os, sys, time; from buildkit_py.store.store import Store\n"
        "store = Store.open(sys.argv[1]); work = store.work_dir('step')\n"
        "os.makedirs(work.path + '/upper/a'); os.chmod(work.path + '/upper', 0); store.work.temporary()\n"
        "print(work.path, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, store.root], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        path = child.stdout.readline().strip()
        Store.open(store.root)
        assert os.path.isdir(path)
        child.send_signal(signal.SIGKILL)
        child.wait()
    after = Store.open(store.root)
    assert not os.path.exists(path)
    mine = {os.path.dirname(one.work.scratch_name()) for one in (store, after)}
    assert {store.path("work", name) for name in os.listdir(store.path("work"))} == mine


def test_a_process_that_ends_leaves_nothing(store: Store) -> None:
    script = (
        "import sys; from buildkit_py.store.store import Store\n"
        "s = Store.open(sys.argv[1]); s.blobs.put(b'x'); s.work.temporary()"
    )
    before = os.listdir(store.path("work"))
    subprocess.run([sys.executable, "-c", script, store.root], check=True)
    assert os.listdir(store.path("work")) == before


def test_threads_share_one_scratch(store: Store) -> None:
    found: set[str] = set()
    threads = [threading.Thread(target=lambda: found.add(store.work.scratch_name())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len({os.path.dirname(path) for path in found}) == 1


def test_sweeping_while_work_is_begun_takes_none_of_it(store: Store) -> None:
    """A directory that is made but not yet locked must not pass for a dead one's."""
    stop = threading.Event()

    def sweep() -> None:
        sweeper = Work(store.root)
        while not stop.is_set():
            sweeper.sweep()

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        for _ in range(300):
            with store.work_dir("step") as work:
                Path(work.path, "file").touch()
    finally:
        stop.set()
        thread.join()


def test_small_files_are_replaced_whole_and_leave_nothing(store: Store) -> None:
    dest = store.path("images", "x")
    store.work.write(dest, b"one")
    store.work.write(dest, b"two" * 100_000)
    assert Path(dest).read_bytes() == b"two" * 100_000
    assert os.listdir(os.path.dirname(store.work.scratch_name())) == []


def test_a_file_written_beside_is_replaced_whole_and_wants_no_scratch(store: Store) -> None:
    before, work = os.listdir(store.path("work")), Work(store.root)
    dest = store.path("containers", "x")
    Path(dest + ".new").write_bytes(b"torn when its writer was killed" * 1000)
    for data in (b"two" * 100_000, b"one"):
        work.write_beside(dest, data)
        assert Path(dest).read_bytes() == data
    assert os.listdir(store.path("containers")) == ["x"]
    assert os.listdir(store.path("work")) == before
    with pytest.raises(StoreError, match="cannot write to the store"):
        work.write_beside(store.path("containers", "gone", "x"), b"one")


def test_a_directory_in_the_way_of_a_file_is_set_aside(store: Store) -> None:
    dest = store.path("images", "x")
    os.makedirs(dest + "/y")
    store.work.write(dest, b"one")
    assert Path(dest).read_bytes() == b"one"
    assert len(os.listdir(store.path("quarantine"))) == 1


def test_a_store_that_vanished_is_a_clear_error(store: Store) -> None:
    store.work.remove(store.path("work-absent"))
    os.rename(store.root, store.root + ".gone")
    with pytest.raises(StoreError, match="cannot"):
        store.work_dir("step")
    with pytest.raises(StoreError, match="cannot"):
        store.blobs.put(b"x")
