"""Trees as they are copied: what of a file stays, and what is never read."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.image.entry import DIR, FILE, Entry
from buildkit_py.runner.copying.place import Root, destination, given
from buildkit_py.runner.copying.tree_source import TreeSource
from buildkit_py.runner.copying.tree_target import TreeTarget


def copy(source: Path, top: Path, *, host: bool = False, prefix: str = "") -> TreeSource:
    fd, place = os.open(source, os.O_PATH), os.open(top, os.O_PATH)
    walked = TreeSource(fd, prefix)
    target = TreeTarget(place, str(top), owner=lambda entry: None, host=host)
    walked.avoid.add((os.fstat(place).st_dev, os.fstat(place).st_ino))
    target.made = lambda status: walked.avoid.add((status.st_dev, status.st_ino))
    try:
        for entry, child in walked.entries():
            target.put(entry, child)
        target.finish()
    finally:
        target.close()
        os.close(fd)
        os.close(place)
    return walked


def test_holes_stay_holes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (tmp_path / "a" / "sparse").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"x" * 10)
        file.truncate(1 << 31)
    copy(tmp_path / "a", tmp_path / "b")
    made = tmp_path / "b" / "sparse"
    assert made.stat().st_size == 1 << 31
    assert made.stat().st_blocks < 1000
    with made.open("rb") as file:
        file.seek((1 << 30) - 5)
        assert file.read(20) == bytes(5) + b"x" * 10 + bytes(5)


def test_modes_and_times(tmp_path: Path) -> None:
    for name in ("a", "inside", "outside"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "d").mkdir()
    (tmp_path / "a" / "d" / "f").write_text("f")
    os.chmod(tmp_path / "a" / "d" / "f", 0o6750)
    os.chmod(tmp_path / "a" / "d", 0o2555)
    for name in ("d/f", "d"):
        os.utime(tmp_path / "a" / name, ns=(5, 1_000_000_007))
    for name, host, modes in (("inside", False, (0o2555, 0o6750)), ("outside", True, (0o555, 0o750))):
        copy(tmp_path / "a", tmp_path / name, host=host)
        found = [(tmp_path / name / path).stat() for path in ("d", "d/f")]
        assert tuple(stat.S_IMODE(one.st_mode) for one in found) == modes
        assert {one.st_mtime_ns for one in found} == {1_000_000_007}


@pytest.mark.parametrize("path", ["/proc", "/sys"])
def test_what_the_kernel_shows_is_an_empty_directory(path: str) -> None:
    fd = os.open(path, os.O_PATH)
    walked = TreeSource(fd, "x")
    assert [(entry.path, entry.kind) for entry, _ in walked.entries()] == [("x", DIR)]
    os.close(fd)
    fd = os.open(f"{path}/{'version' if path == '/proc' else 'kernel/mm/transparent_hugepage/enabled'}", os.O_PATH)
    walked = TreeSource(fd, "x")
    assert (list(walked.entries()), walked.left_out) == ([], ["x"])
    os.close(fd)


def test_a_directory_into_itself(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "f").write_text("f")
    for top, prefix in (("a/b", "new"), ("a/b", ""), ("a", "new")):
        with pytest.raises(UsageError, match="into itself"):
            copy(tmp_path / "a", tmp_path / top, prefix=prefix)


def test_many_levels(tmp_path: Path) -> None:
    """More than a process may have open files, so none is kept open for each."""
    at = os.open(tmp_path, os.O_PATH)
    os.mkdir("a", dir_fd=at)
    os.mkdir("b", dir_fd=at)
    inner = os.open("a", os.O_PATH, dir_fd=at)
    for _ in range(1500):
        os.mkdir("d", dir_fd=inner)
        following = os.open("d", os.O_PATH, dir_fd=inner)
        os.close(inner)
        inner = following
    os.close(inner)
    copy(tmp_path / "a", tmp_path / "b")
    assert os.path.isdir(tmp_path / "b" / ("d/" * 1500))
    os.close(at)
    subprocess.run(["rm", "-rf", tmp_path / "a", tmp_path / "b"], check=True)  # pytest would go too deep in the end


def test_directories_that_an_archive_leaves_out(tmp_path: Path) -> None:
    top = os.open(tmp_path, os.O_PATH)
    target = TreeTarget(top, "web:/", owner=lambda entry: None, host=False)
    deep = "d/" * 2000
    before = time.time_ns()
    target.put(Entry(f"{deep}f", FILE, 0o644), [b"f"])
    target.put(Entry("d/d/g", FILE, 0o644), [b"g"])
    target.finish()
    target.close()
    os.close(top)
    assert ((tmp_path / deep / "f").read_text(), (tmp_path / "d/d/g").read_text()) == ("f", "g")
    made = (tmp_path / "d").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_mtime_ns >= before) == (0o755, True)
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # pytest would go too deep in the end


def test_a_place_by_a_descriptor_of_this_process(tmp_path: Path) -> None:
    """A magic link of /proc, which is followed here and not in a container."""
    fd, top = os.open(tmp_path, os.O_PATH), os.open("/", os.O_PATH)
    path = f"/proc/self/fd/{fd}"
    assert destination(Root(top, False, ""), f"{path}/new", tree=True).name == "new"
    with pytest.raises(UsageError, match="cannot be reached"):
        destination(Root(top, True, "web"), f"{path}/new", tree=True)
    os.close(fd)
    os.close(top)


def test_places(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("f")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to-d").symlink_to("/d")
    (tmp_path / "to-new").symlink_to("../../d/new")
    root = Root(os.open(tmp_path, os.O_PATH), True, "web")
    found = destination(root, "/to-d/", tree=False)
    assert (found.directory, os.fstat(found.fd).st_ino) == (True, (tmp_path / "d").stat().st_ino)
    found = destination(root, "/to-new", tree=True)
    assert (found.directory, found.name, os.fstat(found.fd).st_ino) == (False, "new", (tmp_path / "d").stat().st_ino)
    for path in ("/../..", "/.", "/", "/d/.."):
        assert destination(root, path, tree=True).directory
    for path, words in (("/loop", "links"), ("/f/x", "cannot be reached"), ("/no/x", "there is no `web:/no/`")):
        with pytest.raises(UsageError, match=words):
            destination(root, path, tree=True)
    for path, name, contents in (("/d", "d", False), ("/d/", "d", False), ("/d/.", "d", True), ("/", "", True)):
        what = given(root, path, follow=False)
        assert (what.name, what.contents) == (name, contents)
    assert given(root, "/d/../f", follow=False).name == "f"
