"""What `pybuild run` is told to let a container have and do: enforced by the kernel, or refused with a reason."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path

import pytest

from buildkit_py.sandbox.capabilities import DEFAULT, mask
from buildkit_py.sandbox.limits import hierarchies
from tests.behaviour.containers import LOOP, listed, log, sh, until
from tests.behaviour.world import World

STATUS = "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status"


@pytest.fixture
def limited(svc: World) -> World:
    """A world whose user may set limits."""
    if svc.mode != "root":
        pytest.skip("only root may set limits where control groups are of version 1 or not delegated")
    known = {name for hierarchy in hierarchies() for name in hierarchy.controllers}
    if not {"memory", "cpu", "pids"} <= known:
        pytest.skip("no control groups with `memory`, `cpu` and `pids` here")
    return svc


def inside(world: World, script: str, *options: str) -> str:
    return world.run("run", *options, "svc", "sh", "-c", script).stdout


def status(world: World, *options: str) -> dict[str, int]:
    lines = [line.split(":") for line in inside(world, STATUS, *options).splitlines()]
    return {name: int(value, 16) for name, value in lines}


def refused(world: World, *options: str) -> str:
    done = world.run("run", *options, "svc", "true", ok=False)
    assert done.returncode == 125, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--cap-drop=ALL",), 0),
        (("--cap-drop=all", "--cap-add=NET_BIND_SERVICE"), mask("NET_BIND_SERVICE")),
        (("--cap-add=CAP_SYS_NICE", "--cap-drop=mknod"), DEFAULT & ~mask("MKNOD") | mask("SYS_NICE")),
        (("--cap-drop=CHOWN,KILL",), DEFAULT & ~mask("CHOWN") & ~mask("KILL")),
    ],
)
def test_capabilities(svc: World, options: tuple[str, ...], expected: int) -> None:
    found = status(svc, *options)
    assert (found["CapBnd"], found["CapEff"]) == (expected, expected)


def test_all_capabilities_but_one(svc: World) -> None:
    every = (1 << int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1) - 1
    # An ordinary user's namespace has all of them, root those that it was left.
    possible = own_status("CapBnd", 16) if svc.mode == "root" else every
    found = status(svc, "--cap-add=ALL", "--cap-drop=SYS_BOOT")
    assert found["CapBnd"] == possible & ~mask("SYS_BOOT")


@pytest.mark.attack("S9", by="run")
def test_a_capability_that_pybuild_lacks_is_refused(svc: World) -> None:
    if svc.mode != "root":
        pytest.skip("an ordinary user's namespace has all capabilities")
    command = ["setpriv", "--bounding-set=-sys_nice", *svc.command("run", "--cap-add=SYS_NICE", "svc", "true")]
    done = subprocess.run(command, cwd=svc.project, env=svc.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "pybuild itself does not have SYS_NICE here" in done.stderr


def own_status(name: str, base: int = 10) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], base) for line in lines if line.startswith(f"{name}:"))


def test_security_options(svc: World) -> None:
    usual = status(svc)
    assert (usual["NoNewPrivs"], usual["Seccomp"]) == (0, 2)
    assert status(svc, "--security-opt=no-new-privileges")["NoNewPrivs"] == 1
    assert status(svc, "--security-opt", "no-new-privileges:true")["NoNewPrivs"] == 1
    assert status(svc, "--security-opt=seccomp=unconfined")["Seccomp"] == own_status("Seccomp")


def test_hardened(svc: World) -> None:
    found = status(svc, "--hardened")
    assert (found["CapBnd"], found["CapEff"], found["NoNewPrivs"], found["Seccomp"]) == (0, 0, 1, 2)
    script = "touch /new 2>/dev/null; echo $?; touch /tmp/x; echo $?; cp /bin/busybox /tmp; /tmp/busybox true; echo $?"
    assert inside(svc, script, "--hardened").split() == ["1", "0", "126"]
    kept = status(svc, "--hardened", "--cap-add=CHOWN")
    assert kept["CapBnd"] == mask("CHOWN")


def test_file_systems_in_memory(svc: World) -> None:
    script = "cp /bin/busybox /m; /m/busybox true; echo $?; stat -c %a /m; df -k /m | tail -1 | awk '{print $2}'"
    assert inside(svc, script, "--tmpfs=/m").split()[:2] == ["126", "1777"]
    assert inside(svc, script, "--tmpfs=/m:size=3m,mode=00750,exec").split() == ["0", "750", "3072"]
    assert inside(svc, script, "--tmpfs=/m:size=64k").split()[-1] == "64"
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 10
    assert abs(int(inside(svc, script, "--tmpfs=/m:size=1m,size=10%").split()[-1]) - total / 10) < total / 100
    deep = svc.project / "deep"
    deep.mkdir()
    (deep / "file").write_text("kept\n")
    assert inside(svc, "ls /a; cat /a/b/file", "-v", "./deep:/a/b:ro", "--tmpfs=/a").split() == ["b", "kept"]


def test_shared_memory(svc: World) -> None:
    script = "df -k /dev/shm | tail -1 | awk '{print $2}'; grep -c ' /dev/shm ' /proc/mounts"
    assert inside(svc, script).split() == ["65536", "1"]
    assert inside(svc, script, "--shm-size=128m").split() == ["131072", "1"]


def test_ulimits(svc: World) -> None:
    assert inside(svc, "ulimit -Sn; ulimit -Hn", "--ulimit=nofile=100:200").split() == ["100", "200"]
    assert inside(svc, "ulimit -n", "--ulimit=nofile=100", "--ulimit=nofile=200").split() == ["200"]
    assert inside(svc, "ulimit -Sc; ulimit -Hc; ulimit -Hn", "--ulimit", "core=0", "--ulimit=nofile=64").split() == [
        *("0", "0", "64")
    ]
    # Nothing that makes the sandbox is left to take of the few: where something is mounted its program is opened first.
    assert inside(svc, "ulimit -n", "-v", ".:/here", "--ulimit=nofile=8").split() == ["8"]
    sh(svc, "few", LOOP, "--ulimit=nofile=8")
    assert svc.run("exec", "few", "sh", "-c", "ulimit -n").stdout == "8\n"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    above = "-1" if hard != resource.RLIM_INFINITY else ""
    if above:
        assert f"above the hard limit here, {hard}" in refused(svc, f"--ulimit=nofile=10:{above}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ulimit=nofiles=3",), "`nofiles` is no limit"),
        (("--ulimit=nofile",), "is no `NAME=SOFT[:HARD]`"),
        (("--ulimit=nofile=9:3",), "the soft limit is above the hard one"),
        (("--cap-add=SYS_ADMN",), "did you mean `SYS_ADMIN`"),
        (("--cap-add=ALL", "--cap-drop=ALL"), "added and dropped"),
        (("--security-opt=apparmor=x",), "it takes `no-new-privileges`"),
        (("--hardened", "--security-opt=seccomp=unconfined"), "contradict"),
        (("--tmpfs=relative",), "no absolute path"),
        (("--tmpfs=/",), "no absolute path below"),
        (("--tmpfs=/m:size=lots",), "`lots` is no size"),
        (("--tmpfs=/m:size=0%",), "`0` is less than 1"),
        (("--tmpfs=/m:size=%",), "`` is no whole number"),
        (("--tmpfs=/m:mode=9",), "`mode=9` is not understood"),
        (("--tmpfs=/m", "--tmpfs=/m/"), "two mounts are to be at `/m`"),
        (("--shm-size=",), "is no size"),
        (("--memory=",), "is no size"),
        (("--memory=2m",), "6m is the least"),
        (("--cpus=none",), "is no number of processors"),
        (("--pids-limit=0",), "is no number of at least 1"),
    ],
)
def test_what_is_not_understood_is_refused(svc: World, options: tuple[str, ...], said: str) -> None:
    assert said in refused(svc, *options)


def test_memory_that_does_not_suffice(limited: World) -> None:
    done = limited.run("run", "--memory=32m", "svc", "tail", "/dev/zero", ok=False)
    assert done.returncode == 137
    assert "out of memory: the container needed more than the 32m" in done.stderr
    other = limited.run("run", "--memory=32m", "svc", "sh", "-c", "exit 4", ok=False)
    assert (other.returncode, other.stderr) == (4, "")
    assert inside(limited, "echo fits", "-m", "6m") == "fits\n"
    limited.write({"Dockerfile.own": "FROM svc\n"})
    built = limited.run("run", "--memory=32m", "Dockerfile.own", "tail", "/dev/zero", ok=False)
    assert (built.returncode, "out of memory" in built.stderr) == (137, True)


def test_the_container_sees_its_limits(limited: World) -> None:
    script = (
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max 2>/dev/null || "
        "cat memory.max cpu.max pids.max"
    )
    found = inside(limited, script, "--memory=64m", "--cpus=0.5", "--pids-limit=20").split()
    assert found in (["67108864", "50000", "20"], ["67108864", "50000", "100000", "20"])


@pytest.mark.attack("S14", by="run")
def test_processes(limited: World) -> None:
    script = "for n in 1 2 3 4 5 6; do sleep 5 & done; echo all"
    done = limited.run("run", "--pids-limit=4", "svc", "sh", "-c", script, ok=False)
    assert done.returncode != 0
    assert "an't fork" in done.stderr
    assert inside(limited, "sleep 0 & sleep 0 & wait; echo all", "--pids-limit=4") == "all\n"


def test_checks_of_health_count(limited: World) -> None:
    """One that the limits end, or keep from starting, has failed; the container goes on."""
    often = ("--health-interval=50ms", "--health-retries=1")
    hungry = ("--memory=32m", "--health-cmd=tail /dev/zero", *often)
    limited.run("run", "-d", "--name=hungry", *hungry, "svc", "sleep", "1000")
    limited.run("run", "-d", "--name=crowded", "--pids-limit=1", "--health-cmd=true", *often, "svc", "sleep", "1000")
    for name, code, said in (("hungry", 137, "unhealthy"), ("crowded", -1, "cannot start a process in the container")):
        done = limited.run("wait", "--healthy", name, ok=False)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
        state = listed(limited, name)
        assert (state["status"], state["health"]["code"]) == ("running", code)


def test_in_the_background(limited: World) -> None:
    """The limits are those of all that runs in it, and are said to be what ended it."""
    rights = ("--memory=48m", "--pids-limit=30", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    sh(limited, "web", f"echo ready; {LOOP}", *rights, "--ulimit=nofile=77", "--shm-size=2m")
    until(lambda: "ready" in log(limited, "web"))
    groups = limited.run("exec", "web", "cat", "/proc/self/cgroup").stdout
    assert groups == limited.run("exec", "web", "cat", "/proc/1/cgroup").stdout
    seen = {name for line in groups.splitlines() for name in line.split(":", 2)[1].split(",") if line.endswith(":/")}
    assert {"memory", "pids"} <= seen or ":/\n" in groups
    done = limited.run("exec", "web", "sh", "-c", f"ulimit -n; {STATUS}; df -k /dev/shm | tail -1 | awk '{{print $2}}'")
    assert done.stdout.split()[0] == "77"
    assert [int(word, 16) for word in done.stdout.split()[2:7:2]] == [0, 0, 1]
    assert done.stdout.split()[-1] == "2048"
    assert limited.run("exec", "web", "tail", "/dev/zero", ok=False).returncode == 137
    limited.run("rm", "-f", "web")

    sh(limited, "greedy", "exec tail /dev/zero", "--memory=32m")
    assert limited.run("wait", "greedy").stdout == "137\n"
    assert listed(limited, "greedy")["problem"] == "out of memory"
    assert "ended (out of memory)" in limited.run("ps", "-a").stdout


def test_no_group_is_left_behind(limited: World) -> None:
    before = every_group()
    sh(limited, "again", "exit 1", "--memory=32m", "--pids-limit=9", "--restart=on-failure:2")
    assert limited.run("wait", "again").stdout == "1\n"
    inside(limited, "true", "--cpus=1")
    until(lambda: every_group() <= before)


def every_group() -> set[str]:
    return {
        f"{parent}/{name}"
        for hierarchy in hierarchies()
        for parent in {hierarchy.own, hierarchy.top}
        if os.path.isdir(parent)
        for name in os.listdir(parent)
        if name.startswith("pybuild-")
    }


def test_a_user_who_may_set_no_limits_is_told(svc: World) -> None:
    if svc.mode == "root" or any(os.access(hierarchy.own, os.W_OK) for hierarchy in hierarchies() if os.getuid()):
        pytest.skip("who may set limits is not told")
    for option in ("--memory=64m", "--cpus=1", "--pids-limit=9"):
        said = refused(svc, option)
        assert f"{option.partition('=')[0]} cannot be enforced here" in said
        assert "hint: " in said
    done = svc.run("run", "-d", "--name=never", "--memory=64m", "svc", "true", ok=False)
    assert done.returncode == 125
    assert "--memory cannot be enforced here" in done.stderr
    assert json.loads(svc.run("ps", "-a", "--json").stdout)[0]["code"] == 125
