"""What of a context changed: nothing while nothing does, whatever it holds, and each change by its path."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit_py.executor.context_changes import changed, look_again
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.contexts import SeenContext
from buildkit_py.store.scan import TICK

IGNORE = ("**/*.log", "!**/keep.log", "**/node_modules")


def seen(root: Path, *taken: str) -> SeenContext:
    """The context as a build sees it that takes some paths of it, "*.cfg" among them."""
    tree = ContextTree(str(root), IGNORE)
    for path in taken:
        entry = tree.lookup(path)
        if entry is None or entry.kind == "dir":
            tree.walk(path)
    tree.names("")
    scan, _ = tree.notes()
    return SeenContext(str(root), tree.root, IGNORE, scan, taken)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in ("src/a", "src/deep/b", "other/o", "x.cfg", "README", "src/x.log", "src/keep.log", "node_modules/m"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "src/link").symlink_to("deep/b")
    (tmp_path / "src/lost").symlink_to("nowhere")
    time.sleep(3 * TICK / 1e9)  # what was written a moment ago counts as changed: it may have been, without showing it
    return tmp_path


def found(context: Path, before: SeenContext, *written: str) -> list[str]:
    """The paths that changed, relative to the context."""
    paths = changed(before, look_again(before), [str(context / path) for path in written])
    return [os.path.relpath(path, context) for path in paths]


@pytest.mark.parametrize("taken", [("src", "x.cfg"), ("",), ("src/a", "missing"), ()], ids=str)
def test_nothing_changes_by_itself(context: Path, taken: tuple[str, ...]) -> None:
    before = seen(context, *taken)
    assert found(context, before) == []
    assert list(changed(before, look_again(look_again(before)))) == []


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a file": (lambda top: (top / "src/a").write_text("more"), ["src/a"]),
    "a mode": (lambda top: (top / "src/a").chmod(0o600), ["src/a"]),
    "a mode of a directory": (lambda top: (top / "src/deep").chmod(0o700), ["src/deep"]),
    "a new file": (lambda top: (top / "src/deep/new").write_text(""), ["src/deep/new"]),
    "a lost file": (lambda top: (top / "src/a").unlink(), ["src/a"]),
    "a link": (
        lambda top: ((top / "src/lost").unlink(), (top / "src/lost").symlink_to("elsewhere")),
        ["src/lost"],
    ),
    "a directory that is another": (
        lambda top: ((top / "src/deep").rename(top / "src/old"), (top / "src/deep").mkdir()),
        ["src/deep", "src/deep/b", "src/old"],
    ),
    "what is let through again": (lambda top: (top / "src/deep/keep.log").write_text(""), ["src/deep/keep.log"]),
    "what is ignored": (lambda top: (top / "src/y.log").write_text(""), []),
    "what is in an ignored directory": (lambda top: (top / "node_modules/n").write_text(""), []),
    "times of a directory": (lambda top: os.utime(top / "src"), []),
    "what no step takes": (lambda top: (top / "README").write_text("more"), []),
    "what is elsewhere": (lambda top: (top / "other/new").write_text("more"), []),
    "a new name beside what is taken": (lambda top: (top / "y.cfg").write_text(""), ["y.cfg"]),
    "what the build writes": (lambda top: (top / "out").mkdir(), []),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_named(context: Path, change: str) -> None:
    before = seen(context, "src", "x.cfg")
    act, expected = CHANGES[change]
    act(context)
    assert sorted(set(found(context, before, "out"))) == expected


def test_without_knowing_what_is_taken_everything_that_was_looked_at_counts(context: Path) -> None:
    before = seen(context)
    (context / "README").write_text("more")
    assert found(context, before) == ["README"]
