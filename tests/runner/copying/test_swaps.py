"""Directories that become links and back while they are copied from and to: ten thousand tries, and none gets out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildkit_py.errors import PybuildError
from buildkit_py.image.entry import FILE, Entry
from buildkit_py.runner.copying.place import Root, destination, given
from buildkit_py.runner.copying.tree_source import TreeSource, open_file
from buildkit_py.runner.copying.tree_target import TreeTarget

TRIES = 10_000
# The directory and the link change places, so that one of the two has the name at any time.
SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
print("ready", flush=True)
while True:
    libc.renameat2(-100, b"d", -100, b"other", 2)
"""


@contextmanager
def swapping(top: Path, canary: Path) -> Iterator[Root]:
    (top / "x" / "d").mkdir(parents=True)
    (top / "x" / "d" / "file").write_text("inside")
    (top / "x" / "other").symlink_to(canary)
    canary.mkdir()
    (canary / "file").write_text("outside")
    process = subprocess.Popen([sys.executable, "-c", SWAP, str(top / "x")], stdout=subprocess.PIPE, text=True)
    fd = os.open(top, os.O_PATH)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Root(fd, True, "web")
    finally:
        os.close(fd)
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_reading(tmp_path: Path) -> None:
    seen = {"inside": 0, "refused": 0, "as a link": 0}
    with swapping(tmp_path / "root", tmp_path / "canary") as root:
        for number in range(TRIES):
            try:
                what = given(root, "/x/d/file" if number % 2 else "/x", follow=True)
            except PybuildError:
                seen["refused"] += 1
                continue
            for entry, fd in TreeSource(what.fd, "").entries():
                if entry.kind == FILE:
                    file = open_file(fd, entry.path)
                    assert os.read(file, 100) == b"inside"
                    os.close(file)
                    seen["inside"] += 1
                elif entry.path in ("d", "other") and entry.target:
                    seen["as a link"] += 1
            os.close(what.fd)
    assert all(seen.values()), seen


def test_writing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    outcomes = {True: 0, False: 0}
    with swapping(tmp_path / "root", canary) as root:
        for number in range(TRIES):
            outcomes[_write(root, number)] += 1
    assert all(outcomes.values()), outcomes
    assert os.listdir(canary) == ["file"]
    assert (canary / "file").read_text() == "outside"


def _write(root: Root, number: int) -> bool:
    try:
        place = destination(root, "/x/d/file" if number % 2 else "/x", tree=False)
    except PybuildError:
        return False
    target = TreeTarget(place.fd, "web:/x", owner=lambda entry: None, host=False)
    try:
        target.put(Entry(place.name or "d/file", FILE, 0o644), [b"inside"])
        target.finish()
        return True
    except PybuildError:
        return False
    finally:
        target.close()
        os.close(place.fd)
