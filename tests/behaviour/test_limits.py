"""`RUN --memory` and `--cpus`: enforced by the kernel, or refused."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from buildkit_py.sandbox.limits import hierarchies
from tests.behaviour.containers import LOOP, listed, removed_at_the_end, supervisors, until
from tests.behaviour.world import World


def groups_of(process: int) -> list[str]:
    """The directories of control groups that a pybuild process made."""
    return [
        f"{parent}/{name}"
        for hierarchy in hierarchies()
        for parent in {hierarchy.own, os.path.dirname(hierarchy.own), hierarchy.top}
        if os.path.isdir(parent)
        for name in os.listdir(parent)
        if name.startswith(f"pybuild-{process}-")
    ]


def start(world: World) -> subprocess.Popen[str]:
    return subprocess.Popen(
        world.command("build", "--progress=plain", "."),
        cwd=world.project,
        env=world.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def limited(world: World, base_layout: Path) -> World:
    """A world whose user may set limits."""
    if world.mode != "root":
        pytest.skip("only root may set limits where control groups are of version 1 or not delegated")
    if not any("memory" in hierarchy.controllers for hierarchy in hierarchies()):
        pytest.skip("no control group with `memory` here")
    world.env["BASE"] = f"oci-layout://{base_layout}"
    return world


def buildfile(world: World, text: str) -> None:
    world.write({"Dockerfile": f"FROM {world.env['BASE']}\n{text}"})


def test_memory_that_does_not_suffice(limited: World) -> None:
    buildfile(limited, "RUN --memory=32m echo begun; tail /dev/zero; echo survived $?; exit 9\n")
    done = limited.build(ok=False)
    assert done.returncode == 1
    assert "ERROR: out of memory, with 32m" in done.stderr
    assert "needed more than the 32m that its --memory allows" in done.stderr
    assert "Dockerfile:2:1" in done.stderr
    assert "survived 137" in done.stderr


def test_memory_that_suffices(limited: World) -> None:
    buildfile(limited, "RUN --memory=64m dd if=/dev/zero of=/dev/null bs=8M count=2\n")
    limited.build()
    buildfile(limited, "RUN --memory=65m dd if=/dev/zero of=/dev/null bs=8M count=2\n")
    assert limited.ran(limited.build()) == [], "a limit is in no key"


def test_a_failure_of_another_kind_is_not_said_to_be_of_memory(limited: World) -> None:
    buildfile(limited, "RUN --memory=64m exit 4\n")
    done = limited.build(ok=False)
    assert "ended with exit code 4" in done.stderr
    assert "memory allows" not in done.stderr


def test_the_step_sees_its_limits(limited: World) -> None:
    """Programs that size themselves read them from the root of the hierarchies that they see."""
    buildfile(
        limited,
        "RUN --memory=64m --cpus=0.5 cat /proc/self/cgroup > /groups; cd /sys/fs/cgroup; "
        "cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us 2>/dev/null > /limits || "
        "cat memory.max cpu.max > /limits\n",
    )
    out = limited.out()
    assert (out / "limits").read_text().split()[:2] in (["67108864", "50000"], ["67108864", "50000 100000"])
    lines = [line.split(":", 2) for line in (out / "groups").read_text().splitlines()]
    assert [path for _, names, path in lines if {"memory", "cpu"} & set(names.split(","))] == ["/", "/"]


def test_the_processors_are_shared_out(limited: World) -> None:
    """The kernel says itself how often it held the step back."""
    buildfile(
        limited,
        "RUN --cpus=0.1 --network=none n=0; while [ $n -lt 100000 ]; do n=$((n+1)); done; "
        "cat /sys/fs/cgroup/cpu/cpu.stat 2>/dev/null > /stat || cat /sys/fs/cgroup/cpu.stat > /stat\n",
    )
    stat = dict(line.split() for line in (limited.out() / "stat").read_text().splitlines())
    assert int(stat["nr_throttled"]) > 0


def test_nothing_is_left_behind(limited: World) -> None:
    buildfile(limited, "RUN --memory=64m --cpus=1 --retry=1 exit 1\n")
    with start(limited) as process:
        process.communicate()
    assert process.returncode == 1
    assert groups_of(process.pid) == []


def test_what_a_killed_build_left_goes_with_the_next(limited: World) -> None:
    buildfile(limited, "RUN --memory=64m echo ready; sleep 600\n")
    with start(limited) as process:
        assert process.stderr is not None
        assert any(line.endswith("ready\n") for line in process.stderr)
        assert len(groups_of(process.pid)) == 1
        process.send_signal(signal.SIGKILL)
    buildfile(limited, "RUN --memory=64m true\n")
    for _ in range(100):  # until the kernel has ended the step, its group cannot go
        limited.build("--no-cache")
        if not groups_of(process.pid):
            break
        time.sleep(0.05)
    assert groups_of(process.pid) == []


def test_what_a_killed_supervisor_left_goes_with_its_container(limited: World) -> None:
    buildfile(limited, "RUN true\n")
    limited.build("-t", "box")
    with removed_at_the_end(limited):
        limited.run("run", "-d", "--name=web", "--memory=64m", "--cpus=1", "box", "sh", "-c", LOOP)
        (supervisor,) = supervisors(limited)
        assert groups_of(supervisor) != []
        os.kill(supervisor, signal.SIGKILL)
        until(lambda: listed(limited, "web")["status"] == "exited")
        assert limited.run("rm", "web").stdout == "web\n"
        assert groups_of(supervisor) == []


def test_a_user_who_may_set_no_limits_is_told(world: World, base_layout: Path) -> None:
    if world.mode == "root" or any(os.access(hierarchy.own, os.W_OK) for hierarchy in hierarchies() if os.getuid()):
        pytest.skip("who may set limits is not told")
    world.write({"Dockerfile": f"FROM oci-layout://{base_layout}\nRUN --memory=64m true\n"})
    done = world.build(ok=False)
    assert done.returncode == 6
    assert "Dockerfile:2:1: --memory cannot be enforced here" in done.stderr
    assert "hint: " in done.stderr
    world.write({"Dockerfile": f"FROM oci-layout://{base_layout}\nRUN --cpus=1 true\n"})
    assert "--cpus cannot be enforced here" in world.build(ok=False).stderr
