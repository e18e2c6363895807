"""The order of names in directories: where it can be turned, it is, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.api.directory_order import keeps_order, turn

# A tmpfs that every Linux has; there the order of creation shows.
MEMORY = Path("/dev/shm")


def names(directory: Path) -> list[str]:
    return os.listdir(directory)


@pytest.fixture
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tempfile

    if not MEMORY.is_dir():
        pytest.skip("no /dev/shm")
    top = Path(tempfile.mkdtemp(dir=MEMORY))
    (top / "tree" / "sub" / "deep").mkdir(parents=True)
    for name in ("c", "a", "b", "sub/2", "sub/1", "sub/3", "sub/deep/only"):
        (top / "tree" / name).write_text(name)
    os.symlink("a", top / "tree" / "link")
    return top / "tree"


def test_every_directory_is_turned(tree: Path) -> None:
    try:
        before = {path: names(path) for path in (tree, tree / "sub", tree / "sub" / "deep")}
        os.utime(tree / "sub", ns=(1, 2))
        assert keeps_order(str(tree.parent))
        turn(str(tree), f"{tree.parent}/aside")
        assert {path: names(path) for path in before} == {path: listed[::-1] for path, listed in before.items()}
        assert (tree / "sub").stat().st_mtime_ns == 2
        assert (tree / "sub" / "3").read_text() == "sub/3"
        assert os.readlink(tree / "link") == "a"
        assert sorted(names(tree.parent)) == ["tree"]
    finally:
        import shutil

        shutil.rmtree(tree.parent)


def test_whether_it_can_be_turned_is_what_happens(tmp_path: Path) -> None:
    """On this filesystem, whichever it is."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(50):
        (tree / f"file-{number}").touch()
    before = names(tree)
    turn(str(tree), str(tmp_path / "aside"))
    assert (names(tree) == before[::-1]) == keeps_order(str(tmp_path))
    assert sorted(names(tree)) == sorted(before)
