"""Looking ahead: a second process sees what the first one would, and what it does not say is asked for."""

from __future__ import annotations

import marshal
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.executor import look
from buildkit_py.executor.context_notes import Notes
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.look import LookAhead
from buildkit_py.image import second
from buildkit_py.image.second import SIZE, Second

LONG_AGO = 10**18


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Directories of files that are at rest, and some things that are not ordinary."""
    for number in range(60):
        directory = tmp_path / f"d{number:02}" / "below"
        directory.mkdir(parents=True)
        for name in ("a", "ö", "c.txt"):
            (directory / name).write_text(f"{number} {name}")
            os.utime(directory / name, ns=(LONG_AGO, LONG_AGO))
    (tmp_path / "d07" / "link").symlink_to("below/a")
    os.mkfifo(tmp_path / "d08" / "fifo")
    os.link(tmp_path / "d09" / "below" / "a", tmp_path / "d10" / "below" / "same")
    try:
        os.setxattr(tmp_path / "d11" / "below" / "a", "user.note", b"x")
    except OSError:
        pass  # a file system without them
    return tmp_path


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as long at rest: a change time cannot be set back."""
    monkeypatch.setattr(look, "COARSE_TICK", -(10**12))


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A second process that is up before the first directory, and the list of what it is given."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor")
    monkeypatch.setattr(look, "_ALONE", 0)
    monkeypatch.setattr(look, "_WAITING", 1)
    begun = Second.__init__

    def up_at_once(process: Second) -> None:
        begun(process)
        while not process.is_up():
            pass

    given: list[str] = []
    give = LookAhead._give

    def noted(self: LookAhead, process: Second, waiting: list[str]) -> None:
        before = set(waiting)
        give(self, process, waiting)
        given.extend(before - set(waiting))

    monkeypatch.setattr(Second, "__init__", up_at_once)
    monkeypatch.setattr(LookAhead, "_give", noted)
    yield given
    left = second.start()
    assert left is not None
    left.close()


def seen(root: Path, notes: Notes | None = None) -> tuple[object, ...]:
    tree = ContextTree(str(root), (), notes)
    entries = tree.walk("")
    return entries, tree.scan.listings, tree._racy, tree._inodes


def test_it_sees_what_one_process_sees(root: Path, ahead: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    together = seen(root)
    assert len(ahead) > 20
    monkeypatch.setattr(look, "_ALONE", 10**9)
    alone = seen(root)
    # What is racy depends on when it was looked at.
    assert together[:2] == alone[:2]
    assert together[3] == alone[3]


def test_of_files_at_rest_it_says_all(root: Path, calm: None) -> None:
    own, _, names, stamps, rows = look.look(str(root / "d11" / "below"))
    status = (root / "d11" / "below" / "a").stat()
    assert own[4] == (root / "d11" / "below").stat().st_mode
    assert names == ["a", "c.txt", "ö"]
    assert len(stamps) == 3 * 32
    row = rows[0]
    assert row is not None
    assert row[:3] == (status.st_mode & 0o7777, status.st_size, LONG_AGO)
    assert row[3] == look.xattrs_of(str(root / "d11" / "below" / "a"))


def test_what_is_not_ordinary_it_leaves_to_others(root: Path, calm: None) -> None:
    assert look.look(str(root / "d07"))[4] == [None, None]
    assert look.look(str(root / "d08"))[4] == [None, None]
    assert [row is None for row in look.look(str(root / "d10" / "below"))[4]] == [False, False, True, False]


def test_what_changes_a_moment_before_is_left_to_others(root: Path) -> None:
    (root / "d07" / "below" / "a").write_text("new")
    assert look.look(str(root / "d07" / "below"))[4] == [None, None, None]


def test_digests_of_the_last_build_are_taken_up(root: Path, ahead: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = ContextTree(str(root))
    first.hash_files = True
    first.walk("")
    notes = Notes(*first.notes())
    assert notes.scan is not None
    (root / "d05" / "below" / "a").write_text("other")
    together = {entry.path: entry.digest for entry in ContextTree(str(root), (), notes).walk("")}
    monkeypatch.setattr(look, "_ALONE", 10**9)
    alone = {entry.path: entry.digest for entry in ContextTree(str(root), (), notes).walk("")}
    assert together == alone
    assert together["d05/below/a"] is None


def test_what_is_no_directory_any_more_is_said_as_ever(root: Path) -> None:
    view = memoryview(bytearray(SIZE))
    data = marshal.dumps([str(root / "d01"), str(root / "none"), str(root / "d07" / "link")])
    view[: len(data)] = data
    there, absent, link = marshal.loads(view[: look.look_slot(view, len(data), -1)])
    assert there[2] == ["below"]
    assert (absent, link) == (None, None)


def test_what_has_no_room_is_left_out(tmp_path: Path) -> None:
    for directory in ("a", "b", "c"):
        (tmp_path / directory).mkdir()
    for number in range(SIZE // 250):
        os.mknod(tmp_path / "b" / f"{number:0250}")
    view = memoryview(bytearray(SIZE))
    data = marshal.dumps([str(tmp_path / directory) for directory in ("a", "b", "c")])
    view[: len(data)] = data
    answers = marshal.loads(view[: look.look_slot(view, len(data), -1)])
    assert [answer is None for answer in answers] == [False, True, True]


def test_a_lost_process_costs_nothing_but_time(root: Path, ahead: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    give = Second.give

    def killed(process: Second, *arguments: object) -> None:
        os.kill(process.pid, signal.SIGSTOP)
        give(process, *arguments)  # type: ignore[arg-type]
        os.kill(process.pid, signal.SIGKILL)

    monkeypatch.setattr(Second, "give", killed)
    together = seen(root)
    monkeypatch.setattr(look, "_ALONE", 10**9)
    assert together[:2] == seen(root)[:2]
