"""Batches of small files: written by this process or a second one, which may fail or vanish."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildkit_py.errors import SourceError
from buildkit_py.image import small_files
from buildkit_py.image.entry import DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.small_files import SmallFiles
from buildkit_py.image.tree_writer import TreeWriter, _umask

if TYPE_CHECKING:
    from buildkit_py.image.small_files import SmallFile

ME = os.geteuid(), os.getegid()
SECOND = 10**9


def batch(first: int) -> list[SmallFile]:
    modes = (0o644, 0o666, 0o4711, 0o1777)
    return [
        (f"f{number}", modes[number % 4], *ME, number * SECOND, b"%d\n" % number * (number % 300))
        for number in range(first, first + 50)
    ]


def assert_written(directory: Path, files: list[SmallFile]) -> None:
    for name, mode, uid, gid, mtime, data in files:
        path = directory / name
        seen = path.stat()
        assert (path.read_bytes(), seen.st_mode & 0o7777, seen.st_mtime_ns) == (data, mode, mtime)
        assert (seen.st_uid, seen.st_gid) == (uid, gid)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallFiles]:
    """With a second process that is up."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor")
    monkeypatch.setattr(small_files, "_ALONE", 0)
    made = SmallFiles(ME, _umask())
    (tmp_path / "first").mkdir()
    fd = os.open(tmp_path / "first", os.O_RDONLY)
    made.add(fd, batch(0))
    os.close(fd)
    assert made._second is not None
    end = time.monotonic() + 60
    while not made._second.is_up():
        assert time.monotonic() < end
        time.sleep(0.01)
    made.wait()  # a process that is up at once was given the batch
    yield made
    made.close()


def test_both_write_the_same(writer: SmallFiles, directory: int, tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    for first in range(0, 1000, 50):
        writer.add(directory, batch(first))
    assert writer._given, "a second process that is up gets something to do"
    assert writer.wait() == []
    assert_written(tmp_path, batch(0) + batch(950))
    assert len(list(tmp_path.iterdir())) == 1001
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # what an earlier test left may have gone meanwhile


def test_what_the_second_process_cannot_write_is_raised_here(writer: SmallFiles, directory: int) -> None:
    writer.add(directory, batch(0))
    writer.wait()
    writer.add(directory, batch(0))
    with pytest.raises(FileExistsError, match="f0"):
        writer.wait()


def test_what_was_given_to_a_lost_process_is_written_here(writer: SmallFiles, directory: int, tmp_path: Path) -> None:
    assert writer._second is not None
    os.kill(writer._second.pid, signal.SIGSTOP)
    writer.add(directory, batch(0))
    writer.add(directory, batch(50))
    # As if it had begun with one of them.
    (tmp_path / "f0").write_text("something else")
    os.kill(writer._second.pid, signal.SIGKILL)
    assert writer.wait() == []
    writer.add(directory, batch(100))
    assert_written(tmp_path, batch(0) + batch(50) + batch(100))


def test_a_directory_that_was_moved_still_gets_its_files(writer: SmallFiles, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    fd = os.open(tmp_path / "here", os.O_RDONLY)
    assert writer._second is not None
    os.kill(writer._second.pid, signal.SIGSTOP)
    writer.add(fd, batch(0))
    os.close(fd)
    (tmp_path / "here").rename(tmp_path / "there")
    os.kill(writer._second.pid, signal.SIGCONT)
    writer.wait()
    assert_written(tmp_path / "there", batch(0))


def test_a_batch_that_is_too_large_for_a_slot_is_written_here(
    writer: SmallFiles, directory: int, tmp_path: Path
) -> None:
    large = [(f"f{number}", 0o644, *ME, SECOND, bytes(60_000)) for number in range(40)]
    writer.add(directory, large)
    assert not writer._given
    assert_written(tmp_path, large)


LATER = [
    Entry("d/f1", DIR),
    Entry("d/f1", SYMLINK, target="f2"),
    Entry("d/f1", FIFO, 0o600, *ME),
    Entry("d/f1", HARDLINK, target="d/f2"),
    Entry("d/f1", WHITEOUT),
    Entry("d/f1", FILE, 0o600, *ME),
    Entry("d/f1/below", DIR),
    Entry("other/f1", DIR),
]


def later(writer: TreeWriter, entry: Entry) -> str:
    """Some small files, another entry in the place of one of them, and what became of it."""
    for name in ("d", "other"):
        writer.other(Entry(name, DIR, 0o755, *ME) if name == "d" else Entry(name, SYMLINK, 0o777, *ME, target="d"))
    for number in range(300):
        writer.small_file("d", (f"f{number}", 0o600, *ME, SECOND, b"small"))
    try:
        if entry.kind == FILE:
            writer.file(entry, (b"larger",))
        else:
            writer.other(entry._replace(mode=0o700, uid=ME[0], gid=ME[1]))
        writer.finish()
    except SourceError as problem:
        return problem.message
    return ""


@pytest.mark.parametrize("entry", LATER, ids=lambda entry: f"{entry.path}-{entry.kind}")
def test_what_replaces_a_file_that_the_second_process_has_not_written_yet(
    writer: SmallFiles, tmp_path: Path, entry: Entry
) -> None:
    found = []
    for name in ("alone", "both"):
        (tmp_path / name).mkdir()
        with TreeWriter(str(tmp_path / name), userxattr=True, devices=True, ignore_owners=True) as tree:
            if name == "both":
                tree._small_files.close()
                tree._small_files = writer
                assert writer._second is not None
                process = writer._second.pid
                os.kill(process, signal.SIGSTOP)
                timer = threading.Timer(0.2, os.kill, (process, signal.SIGCONT))
                timer.start()
            said = later(tree, entry)
        modes = {path.name: path.lstat().st_mode for path in (tmp_path / name / "d").rglob("*")}
        found.append((said, modes))
    timer.join()
    assert found[0] == found[1]
