"""What control groups of version 2 say of a container, in the form of the kernel's documentation (cgroup-v2)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.runner.process import look
from buildkit_py.runner.usage import machine_memory, usage


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """The files of a group with all controllers."""
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnr_periods 0\n")
    (tmp_path / "memory.current").write_text("10000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.stat").write_text("anon 5000\nfile 9000\ninactive_file 4000000\nactive_file 5\n")
    (tmp_path / "pids.current").write_text("17\n")
    (tmp_path / "io.stat").write_text(
        "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n8:0 rbytes=90430464 wbytes=299008\n"
    )
    return tmp_path


def test_a_group_of_version_2(group: Path) -> None:
    pidfd = os.pidfd_open(os.getpid())
    found = usage(pidfd, [os.getpid()], (str(group),))
    assert (found.cpu, found.memory, found.pids) == (2.5, 6_000_000, 17)
    assert (found.read, found.written) == (1459200 + 90430464, 314773504 + 299008)
    assert found.limit == machine_memory()
    assert (found.received, found.sent) == (None, None)  # our own network
    (group / "memory.max").write_text("20000000\n")
    assert usage(pidfd, [], (str(group),)).limit == 20_000_000
    (group / "memory.max").write_text(f"{1 << 62}\n")
    assert usage(pidfd, [], (str(group),)).limit == machine_memory()
    os.close(pidfd)


def test_without_a_controller_its_processes_are_asked(group: Path) -> None:
    for name in ("memory.current", "pids.current", "io.stat", "cpu.stat"):
        (group / name).unlink()
    pidfd = os.pidfd_open(os.getpid())
    found = usage(pidfd, [os.getpid(), 1 << 22], (str(group),))  # of which one has ended
    me = look(os.getpid())
    assert me is not None
    assert found.cpu is not None
    assert found.cpu <= me.cpu + me.reaped
    assert found.memory is not None
    assert found.memory > 1 << 20
    assert found.pids == me.threads
    assert found.read is not None
    os.close(pidfd)


def test_a_process() -> None:
    me = look(os.getpid())
    assert me is not None
    assert (me.pid, me.parent, me.uid, me.state) == (os.getpid(), os.getppid(), os.geteuid(), "R")
    assert me.command == Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
    kernel_thread = look(2)
    if kernel_thread is not None and kernel_thread.parent == 0:
        assert kernel_thread.command == "[kthreadd]"
    assert look(1 << 22) is None
