from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from buildkit_py.errors import StoreError
from buildkit_py.store.locks import Lock


def test_threads_exclude_each_other_and_the_file_goes(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with Lock(path):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert os.listdir(tmp_path) == []


def _count(path: str, counter: str, times: int) -> None:
    for _ in range(times):
        with Lock(path):
            with open(counter) as file:
                value = int(file.read())
            with open(counter, "w") as file:
                file.write(str(value + 1))


def test_processes_exclude_each_other(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_count, args=(str(tmp_path / "lock"), str(counter), 40)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter.read_text() == "240"


def test_shared_holders_come_together_and_alone_not(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with Lock(path, shared=True, keep=True), Lock(path, shared=True, keep=True):
        assert not Lock(path, keep=True).acquire(wait=False)
    lock = Lock(path, keep=True)
    assert lock.acquire(wait=False)
    assert not Lock(path, shared=True).acquire(wait=False)
    lock.release()
    lock.release()
    assert os.path.exists(path)


@pytest.mark.attack("K3")
def test_who_waits_hears_who_holds_and_may_give_up(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    heard: list[int] = []

    def waiting(holder: int) -> None:
        heard.append(holder)
        if len(heard) == 3:
            raise KeyboardInterrupt

    with Lock(path):
        with pytest.raises(KeyboardInterrupt):
            Lock(path, waiting=waiting).acquire()
        assert heard == [os.getpid()] * 3
    assert Lock(path).acquire(wait=False)


@pytest.mark.attack("K3")
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    script = (
        "import sys, time; from buildkit_py.store.locks import Lock\n"
        "Lock(sys.argv[1]).acquire() and print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert not Lock(path).acquire(wait=False)
        child.send_signal(signal.SIGKILL)
        child.wait()
    lock = Lock(path)
    assert lock.acquire(wait=False)
    lock.release()
    assert os.listdir(tmp_path) == []


def test_a_link_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="lock file"):
        Lock(str(tmp_path / "lock")).acquire()
    assert not (tmp_path / "elsewhere").exists()
