"""A sandbox is in the control groups that it is given from its first moment, and sees nothing above them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.ground import join_cgroups
from buildkit_py.sandbox.launch import Launcher
from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec
from tests.needs import need

_NAME = f"pybuild-test-joining-{os.getpid()}"


def _mounted(place: Path, kind: str, options: str) -> Iterator[Path]:
    """A hierarchy, mounted, with a group of ours."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount control groups")
    need("mount", "umount")
    place.mkdir()
    done = subprocess.run(["mount", "-t", kind, "-o", options, kind, place], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"this machine has no hierarchy of that kind: {done.stderr!r}")
    group = place / _NAME
    try:
        group.mkdir()
        yield group
        group.rmdir()
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def unified(tmp_path: Path) -> Iterator[Path]:
    yield from _mounted(tmp_path / "unified", "cgroup2", "rw")


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    yield from _mounted(tmp_path / "pids", "cgroup", "pids")


def _within(group: Path, *, how: str) -> str:
    """The groups of a process that is in one, in the words of /proc/PID/cgroup."""
    reader, writer = os.pipe()
    if how == "made":
        fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
        pid, pidfd = syscalls.clone_into(fd, 0)
        os.close(fd)
        if pid:
            os.close(pidfd)
    else:
        pid = os.fork()
    if pid == 0:
        try:
            if how == "joins":
                join_cgroups((str(group),))
            os.write(writer, Path("/proc/self/cgroup").read_bytes())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        groups = file.read()
    os.waitpid(pid, 0)
    return groups


def test_a_process_is_made_in_a_group_of_version_2(unified: Path) -> None:
    assert f":/{_NAME}\n" in _within(unified, how="made")


def test_a_process_joins_a_group_of_either_version(unified: Path, pids: Path) -> None:
    assert f":/{_NAME}\n" in _within(unified, how="joins")
    assert f":/{_NAME}\n" in _within(pids, how="joins")
    assert (unified / "cgroup.procs").read_text() == (pids / "cgroup.procs").read_text() == ""


def test_a_sandbox_is_in_all_of_its_groups_and_at_the_root_of_what_it_sees(
    rootfs: Path, tmp_path: Path, unified: Path, pids: Path
) -> None:
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    root = RootFilesystem(layers=(str(rootfs),), upper=f"{tmp_path}/upper", work=f"{tmp_path}/work")
    argv = ("sh", "-c", "cat /proc/self/cgroup; exec sleep 1000")
    spec = SandboxSpec(root=root, argv=argv, env=(("PATH", "/bin"),), network="host", cgroups=(str(unified), str(pids)))
    reader, writer = os.pipe()
    with Launcher.start() as launcher, os.fdopen(reader) as said:
        sandbox = launcher.spawn(spec, stdout=writer, stderr=2)
        os.close(writer)
        lines = [said.readline()]
        while not lines[-1].startswith("0::"):
            lines.append(said.readline())
        members = [(group / "cgroup.procs").read_text().split() for group in (unified, pids)]
        assert str(sandbox.pid) in members[0]
        assert str(sandbox.pid) in members[1]
        assert "0::/\n" in lines
        assert any(line.endswith(":pids:/\n") for line in lines)
        sandbox.destroy()
        sandbox.wait()
