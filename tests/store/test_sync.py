"""The mark of what is on the disk moves by itself, now and then, and never while anybody waits."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildkit_py.store.boot import is_mark_old, read_mark
from buildkit_py.store.store import Store

# An ordinary user's session enters a namespace, which a process with threads cannot.
SESSION = """
import sys
from buildkit_py.api.session import Session
with Session(sys.argv[1]):
    print("begun", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _session(store: Store) -> Iterator[None]:
    command = [sys.executable, "-c", SESSION, store.root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield
    assert process.returncode == 0


def _age(store: Store, seconds: int) -> None:
    past = time.time() - seconds
    os.utime(f"{store.root}/boot", (past, past))


def test_a_mark_is_old_after_ten_minutes(store: Store) -> None:
    assert not is_mark_old(store.root)
    _age(store, 580)
    assert not is_mark_old(store.root)
    _age(store, 620)
    assert is_mark_old(store.root)
    Path(store.root, "boot").unlink()
    assert not is_mark_old(store.root)


def test_a_session_moves_an_old_mark(store: Store) -> None:
    _age(store, 3600)
    blob = store.blobs.path(store.blobs.put(b"bytes"))
    written = os.stat(blob).st_ctime_ns
    time.sleep(0.02)  # the clock of files ticks every few milliseconds
    with _session(store):
        deadline = time.monotonic() + 60
        while read_mark(store.root)[1] <= written:
            assert time.monotonic() < deadline, "the mark was not moved"
            time.sleep(0.01)
    assert not is_mark_old(store.root)


def test_a_session_leaves_a_fresh_mark(store: Store) -> None:
    before = read_mark(store.root)
    with _session(store):
        time.sleep(0.3)
    assert read_mark(store.root) == before
