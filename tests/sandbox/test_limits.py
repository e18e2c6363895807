"""Where control groups may be made; that they limit is shown in tests/behaviour/test_limits.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.limits import Hierarchy, Limits, hierarchies


def test_the_hierarchies_of_this_machine() -> None:
    found = hierarchies()
    assert [hierarchy.version for hierarchy in found] == sorted(hierarchy.version for hierarchy in found)
    for hierarchy in found:
        assert Path(hierarchy.own).is_dir()
        assert hierarchy.own.startswith(hierarchy.top)


def test_a_group_of_version_2_is_made_where_controllers_are_handed_down(tmp_path: Path) -> None:
    own = tmp_path / "user.slice" / "app.slice" / "shell.scope"
    own.mkdir(parents=True)
    for directory, controllers in ((own, ""), (own.parent, "memory pids"), (own.parent.parent, "cpu memory pids")):
        (directory / "cgroup.subtree_control").write_text(controllers)
    hierarchy = Hierarchy(2, ("cpu", "memory", "pids"), str(own), str(tmp_path))
    assert hierarchy.parents("memory") == [str(own.parent), str(own.parent.parent)]
    assert hierarchy.parents("cpu") == [str(own.parent.parent)]
    assert hierarchy.parents("hugetlb") == []


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        ([], "mount -t cgroup2"),
        ([Hierarchy(2, ("memory",), "/nowhere/own", "/nowhere")], "systemd-run --user --scope"),
        ([Hierarchy(1, ("memory",), "/nowhere", "/nowhere")], "run as root"),
    ],
)
def test_a_limit_that_cannot_be_enforced_is_an_error(found: list[Hierarchy], hint: str) -> None:
    with pytest.raises(SandboxError, match="--memory cannot be enforced here") as caught:
        Limits.make(found, memory=1 << 26, cpus=0)
    assert hint in caught.value.hint


def test_what_was_made_before_an_error_is_removed(tmp_path: Path) -> None:
    """A directory that is no control group: it can be made, but has no file that takes a limit."""
    with pytest.raises(SandboxError, match="the limits cannot be set"):
        Limits.make([Hierarchy(1, ("memory",), str(tmp_path), str(tmp_path))], memory=1 << 26, cpus=0)
    assert list(tmp_path.iterdir()) == []


def test_a_group_that_is_locked_is_no_leftover(tmp_path: Path) -> None:
    (tmp_path / "pybuild-1-2-0").mkdir()
    (tmp_path / "other").mkdir()
    first, second = Limits(), Limits()
    held = first._make(str(tmp_path))
    second._make(str(tmp_path))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"other", Path(held).name} < names
    assert "pybuild-1-2-0" not in names
    first.remove()
    second.remove()
    assert {path.name for path in tmp_path.iterdir()} == {"other"}
