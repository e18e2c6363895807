"""Batches in two processes: what comes out is what one process makes, also where the second one is gone."""

from __future__ import annotations

import marshal
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit_py.errors import ContextError
from buildkit_py.image import batches, second
from buildkit_py.image.batch import FULL, MOST, Batch, Refused, fill, fill_slot, made_in
from buildkit_py.image.content import content_digest
from buildkit_py.image.directories import Directories
from buildkit_py.image.entry import FILE, Entry
from buildkit_py.image.overlay_diff import diff
from buildkit_py.image.pack import pack
from buildkit_py.image.second import Second

TASK = "buildkit_py.image.batch:fill_slot"
MANY = 4_000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Many small files, and among them what no batch takes or reads."""
    root = tmp_path / "tree"
    for number in range(MANY):
        directory = root / f"d{number // 80}" / ("ä" if number % 3 == 0 else "")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(b"%d\n" % number * (number % 700))
    (root / "d1" / "large").write_bytes(os.urandom(300_000))
    (root / "d1" / ("long" * 40)).write_bytes(b"x")
    (root / "d2" / "link").symlink_to("f1")
    os.link(root / "d3" / "f241", root / "d3" / "other")
    return root


def everything(entries: list[Entry]) -> tuple[object, bytes, list[int], bytes]:
    out = bytearray()
    digests, ends = bytearray(), bytearray()
    made = pack(entries, out.extend, hash_files=True, digests=digests, ends=ends, compression="none")
    return made, bytes(digests), memoryview(ends).cast("Q").tolist(), bytes(out)


def until_up(process: Second) -> None:
    end = time.monotonic() + 60
    while not process.is_up():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def process() -> Second:
    started = second.start()
    if started is None:
        pytest.skip("one processor")
    until_up(started)
    return started


def batch_of(entries: list[Entry]) -> Batch:
    batch = Batch()
    for entry in entries:
        assert entry.kind != FILE or entry.size > 60_000 or batch.file(entry)
    return batch


def test_two_processes_make_what_one_makes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = diff(str(tree), hash_files=False)
    together = everything(entries)
    monkeypatch.setattr(batches, "_WORTH", MANY * 10)
    assert together == everything(entries)
    assert together[0].content == content_digest(entries)  # type: ignore[attr-defined]


def test_a_slot_has_what_this_process_makes(tree: Path, process: Second) -> None:
    job = batch_of(diff(str(tree / "d3"), hash_files=False)).job(True, 5)
    data = marshal.dumps(job, 4)
    with process, Directories("/") as directories:
        slot = process.free.pop()
        process.slot(slot)[: len(data)] = data
        process.give(TASK, slot, len(data))
        number, length = process.take()
        view = process.slot(number)[:length]
        made, tar = made_in(view), bytes(view)
        here = memoryview(bytearray(MOST))
        assert made == fill(here, job, directories)
        assert number == slot
        assert tar[: made[0]] == here[: made[0]]
        view.release()


@pytest.mark.parametrize("gone", ["before", "with a batch"])
def test_a_lost_process_costs_nothing_but_time(tree: Path, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = diff(str(tree), hash_files=False)
    monkeypatch.setattr(batches, "_WORTH", MANY * 10)
    alone = everything(entries)
    monkeypatch.setattr(batches, "_WORTH", 1)
    give = Second.give
    begun = Second.__init__

    def kill(process: Second) -> None:
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    if gone == "before":

        def killed_at_once(process: Second, *args: object) -> None:
            begun(process, *args)  # type: ignore[arg-type]
            kill(process)

        monkeypatch.setattr(Second, "__init__", killed_at_once)
    else:

        def up_at_once(process: Second, *args: object) -> None:
            begun(process, *args)  # type: ignore[arg-type]
            until_up(process)
            os.kill(process.pid, signal.SIGSTOP)

        def killed_with_one(process: Second, task: str, number: int, length: int, directory: int = -1) -> None:
            give(process, task, number, length, directory)
            kill(process)

        monkeypatch.setattr(Second, "__init__", up_at_once)
        monkeypatch.setattr(Second, "give", killed_with_one)
    assert everything(entries) == alone


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def replaced(path: Path) -> None:
    path.unlink()
    path.symlink_to("f1")


@pytest.mark.parametrize("change", [grown, touched, replaced, Path.unlink])
def test_a_changed_file_is_named(tree: Path, change: Callable[[Path], object]) -> None:
    entries = diff(str(tree), hash_files=False)
    change(tree / "d7" / "f566")
    with pytest.raises(ContextError, match="d7/f566 changed while it was being read"):
        everything(entries)


def test_a_slot_names_what_it_refuses(tree: Path) -> None:
    entries = diff(str(tree / "d7"), hash_files=False)
    touched(tree / "d7" / "f566")
    batch = batch_of(entries)
    view = memoryview(bytearray(MOST))
    data = marshal.dumps(batch.job(False, None), 4)
    view[: len(data)] = data
    with pytest.raises(Refused) as refused:
        made_in(view[: fill_slot(view, len(data), -1)])
    assert (batch.entries[refused.value.number].path, refused.value.errno) == ("f566", 0)


def test_a_known_digest_is_held_against_the_bytes(tree: Path) -> None:
    entries = diff(str(tree / "d7"), hash_files=True)
    everything(entries)
    wrong = [entry._replace(digest=bytes(32)) if entry.path == "f566" else entry for entry in entries]
    with pytest.raises(ContextError, match="f566 changed"):
        everything(wrong)


def test_what_is_rare_goes_into_no_batch(tree: Path) -> None:
    (entry,) = [entry for entry in diff(str(tree / "d7"), hash_files=False) if entry.path == "f566"]
    assert not Batch().file(entry._replace(path="other"))
    assert not Batch().file(entry._replace(path="of566"))
    assert not Batch().file(entry._replace(xattrs=(("user.a", b""),)))
    assert not Batch().file(entry._replace(uid=1 << 30))
    assert not Batch().file(entry._replace(mtime=-1))
    assert Batch().file(entry._replace(path="o/f566"))


@pytest.mark.parametrize("letter", ["e", "ä", "𝄞"])
def test_what_becomes_of_a_full_batch_fits_in_a_slot(tmp_path: Path, letter: str) -> None:
    """Also where names are long, and the files hold nothing."""
    directory = tmp_path / ("d" * 200) / (letter * (200 // len(letter.encode())))
    directory.mkdir(parents=True)
    for number in range(1200):
        (directory / f"{number:0250}").write_bytes(b"")
    batch = Batch()
    for entry in diff(str(tmp_path), hash_files=False):
        if entry.kind == FILE and batch.room < FULL:
            batch.file(entry)
    assert batch.room >= FULL
    data = marshal.dumps(batch.job(True, None), 4)
    view = memoryview(bytearray(MOST))
    view[: len(data)] = data
    assert fill_slot(view, len(data), -1) <= MOST
