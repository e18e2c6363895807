"""Health checks of containers in the background: what they find, what they may do, and who waits for them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.containers import LOOP, listed, log, removed_at_the_end, sh, supervisors, until
from tests.behaviour.world import World
from tests.needs import need

OFTEN = "--health-interval=50ms"


def health(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = listed(world, name)["health"]
    return found


def build(world: World, layout: Path, dockerfile: str) -> None:
    world.write({"Dockerfile": dockerfile})
    world.run("build", "-t", "svc", f"--build-context=busybox=oci-layout://{layout}", ".")


@pytest.fixture
def checked(world: World, base_layout: Path) -> Iterator[World]:
    """A world with the image `svc`, which is well while /well is there."""
    build(
        world,
        base_layout,
        "FROM busybox\nWORKDIR /work\nENV WHERE=/well\nUSER 7:8\n"
        "HEALTHCHECK --interval=50ms --retries=2 CMD cat $WHERE && echo as $(id -u):$(id -g) in $(pwd)\n",
    )
    with removed_at_the_end(world):
        yield world


def exec_as_root(world: World, name: str, *command: str) -> None:
    world.run("exec", "-u", "0", name, *command)


def test_a_life(checked: World) -> None:
    sh(checked, "web", LOOP, "--health-retries=1000", "--health-start-interval=10s")
    until(lambda: health(checked, "web")["streak"] >= 2)
    assert health(checked, "web")["status"] == "starting"
    assert "(health: starting)" in checked.run("ps").stdout
    waiter = subprocess.Popen(
        checked.command("wait", "--healthy", "web"),
        cwd=checked.project,
        env=checked.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    exec_as_root(checked, "web", "touch", "/well")
    assert waiter.communicate(timeout=60)[0] == "web\n"
    assert waiter.returncode == 0
    assert health(checked, "web") == {"status": "healthy", "streak": 0, "code": 0, "output": "as 7:8 in /work\n"}
    assert "(healthy)" in checked.run("ps").stdout
    exec_as_root(checked, "web", "rm", "/well")
    until(lambda: health(checked, "web")["streak"] >= 2)
    found = health(checked, "web")
    assert (found["status"], found["code"]) == ("healthy", 1)
    assert "can't open '/well'" in found["output"]


def test_waiting_for_one_that_becomes_unhealthy_and_well_again(checked: World) -> None:
    sh(checked, "web", LOOP)
    done = checked.run("wait", "--healthy", "web", ok=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "`web` is unhealthy" in done.stderr
    assert "cat: can't open '/well': No such file or directory" in done.stderr
    assert "(unhealthy)" in checked.run("ps").stdout
    exec_as_root(checked, "web", "touch", "/well")
    until(lambda: health(checked, "web")["status"] == "healthy")
    assert checked.run("wait", "--healthy", "web").stdout == "web\n"
    checked.run("stop", "-t0", "web")
    assert "healthy" not in checked.run("ps", "-a").stdout
    ended = checked.run("wait", "--healthy", "web", ok=False)
    assert (ended.returncode, "`web` is not running" in ended.stderr) == (1, True)


def test_waiting_for_one_that_takes_too_long(checked: World) -> None:
    sh(checked, "web", LOOP, "--health-retries=100000")
    until(lambda: health(checked, "web")["streak"])
    late = checked.run("wait", "--healthy", "--timeout=0.3", "web", ok=False)
    assert (late.returncode, "`web` is not healthy in time" in late.stderr) == (1, True)
    assert "can't open '/well'" in late.stderr


def test_waiting_for_as_good_as_ever(checked: World) -> None:
    sh(checked, "web", LOOP)
    exec_as_root(checked, "web", "touch", "/well")
    for seconds in ("99999999999", "9" * 400):
        assert checked.run("wait", "--healthy", f"--timeout={seconds}", "web").stdout == "web\n"


def test_waiting_for_one_that_ends(svc: World) -> None:
    sh(svc, "web", LOOP, "--health-cmd=true", "--health-interval=1h")
    (supervisor,) = supervisors(svc)
    before = len(os.listdir(f"/proc/{supervisor}/fd"))
    waiter = subprocess.Popen(
        svc.command("wait", "--healthy", "web"),
        cwd=svc.project,
        env=svc.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(os.listdir(f"/proc/{supervisor}/fd")) > before)  # it has the waiter's connection
    svc.run("stop", "-t0", "web")
    assert "`web` is not running" in waiter.communicate(timeout=60)[1]
    assert waiter.returncode == 1


def test_one_that_nobody_checks(checked: World) -> None:
    sh(checked, "web", LOOP, "--no-healthcheck")
    assert listed(checked, "web")["health"] is None
    assert "health" not in checked.run("ps").stdout
    done = checked.run("wait", "--healthy", "web", ok=False)
    assert (done.returncode, "nobody checks the health" in done.stderr) == (2, True)
    assert checked.run("wait", "--timeout=1", "web", ok=False).returncode == 2


def test_the_images_own_word_for_none(world: World, base_layout: Path) -> None:
    build(world, base_layout, "FROM busybox\nHEALTHCHECK NONE\n")
    with removed_at_the_end(world):
        sh(world, "web", LOOP)
        assert listed(world, "web")["health"] is None
        sh(world, "other", LOOP, "--health-cmd=true", OFTEN)
        assert world.run("wait", "--healthy", "other").stdout == "other\n"


def test_a_check_that_takes_too_long_is_killed_with_what_it_started(svc: World) -> None:
    check = "echo begun; sleep 5432 & sleep 5432"
    sh(svc, "web", LOOP, f"--health-cmd={check}", OFTEN, "--health-timeout=300ms", "--health-retries=2")
    done = svc.run("wait", "--healthy", "web", ok=False)
    assert done.returncode == 1
    assert "it was ended after the 0.3s that it has" in done.stderr
    assert "begun" in done.stderr
    assert health(svc, "web")["code"] == -1
    # At most those of the check that runs now: of each before it, both are gone.
    assert svc.run("exec", "web", "ps").stdout.count("sleep 5432") <= 4


def test_a_check_that_leaves_something_behind_is_over(svc: World) -> None:
    """Who still has its output open keeps nobody waiting, and its supervisor reaps all of them."""
    check = "echo hello; sleep 6543 & exit 0"
    sh(svc, "web", LOOP, f"--health-cmd={check}", OFTEN)
    assert svc.run("wait", "--healthy", "web").stdout == "web\n"
    until(lambda: svc.run("exec", "web", "ps").stdout.count("sleep 6543") >= 3)
    assert health(svc, "web")["output"] == "hello\n"
    supervisor = min(supervisors(svc))  # one that becomes a check looks like it for a moment
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    # Never more than the container's first process and the check that runs.
    for _ in range(20):
        assert len(children.read_text().split()) <= 3
    svc.run("stop", "-t0", "web")


def test_much_output_and_odd_bytes(svc: World) -> None:
    check = r"yes x | head -c 300000; printf '\377\033[2Jend'; exit 3"
    sh(svc, "web", LOOP, f"--health-cmd={check}", OFTEN, "--health-retries=1")
    done = svc.run("wait", "--healthy", "web", ok=False)
    assert "\\x1b[2Jend" in done.stderr
    assert "\x1b[2J" not in done.stderr
    found = health(svc, "web")
    assert (len(found["output"]), found["output"][-8:], found["code"]) == (4096, "\ufffd\x1b[2Jend", 3)


def test_a_check_that_never_stops_writing(svc: World) -> None:
    sh(svc, "web", LOOP, "--health-cmd=yes", OFTEN, "--health-timeout=500ms", "--health-retries=1")
    done = svc.run("wait", "--healthy", "web", ok=False)
    assert "it was ended after the 0.5s that it has" in done.stderr
    svc.run("stop", "-t0", "web")


def test_a_container_that_stops_during_a_check(svc: World) -> None:
    check = "touch /begun; sleep 7654"
    sh(svc, "web", f"trap 'exit 5' TERM; {LOOP}", f"--health-cmd={check}", OFTEN, "--health-retries=1")
    exec_until(svc, "web", "test -e /begun")
    svc.run("stop", "web")
    state = listed(svc, "web")
    assert (state["status"], state["code"], state["health"]["streak"]) == ("exited", 5, 0)
    until(lambda: not supervisors(svc))
    sh(svc, "other", "while [ ! -e /begun ]; do sleep 0.05; done; exit 6", f"--health-cmd={check}", OFTEN)
    assert svc.run("wait", "other").stdout == "6\n"


def exec_until(world: World, name: str, script: str) -> None:
    until(lambda: world.run("exec", name, "sh", "-c", script, ok=False).returncode == 0)


def test_a_restart_during_a_check(svc: World) -> None:
    """Its end is not the check's failure, and the container begins anew as one of which nothing is known."""
    script = "if [ -e /begun ]; then touch /again; fi; while [ ! -e /begun ]; do sleep 0.05; done; "
    script += f"if [ -e /again ]; then {LOOP}; fi; exit 9"
    check = "[ -e /again ] && exit 0; touch /begun; sleep 8765"
    sh(svc, "web", script, f"--health-cmd={check}", OFTEN, "--health-retries=1", "--restart=on-failure")
    assert svc.run("wait", "--healthy", "web").stdout == "web\n"
    state = listed(svc, "web")
    assert (state["restarts"], state["health"]["streak"]) == (1, 0)


def test_an_image_without_a_shell(world: World, base_layout: Path) -> None:
    build(
        world,
        base_layout,
        'FROM scratch\nCOPY --from=busybox /bin/busybox /sleep\nCMD ["/sleep", "1000"]\n'
        "HEALTHCHECK --interval=50ms --retries=1 CMD exit 0\n",
    )
    with removed_at_the_end(world):
        world.run("run", "-d", "--name=web", "svc")
        done = world.run("wait", "--healthy", "web", ok=False)
        assert (done.returncode, 'exec: "/bin/sh": no such file' in done.stderr) == (1, True)
        assert health(world, "web")["code"] == 127


def test_a_command_that_does_not_exist(world: World, base_layout: Path) -> None:
    build(world, base_layout, 'FROM busybox\nHEALTHCHECK --interval=50ms --retries=2 CMD ["no-such-program", "-x"]\n')
    with removed_at_the_end(world):
        sh(world, "web", LOOP)
        done = world.run("wait", "--healthy", "web", ok=False)
        assert done.returncode == 1
        assert 'exec: "no-such-program": executable file not found in $PATH' in done.stderr
        assert health(world, "web")["status"] == "unhealthy"


def test_a_check_that_is_killed_alone(svc: World) -> None:
    """It looks as if the container were ending, which it is not."""
    sh(svc, "web", LOOP, "--health-cmd=echo so; kill -9 $$", OFTEN, "--health-retries=1")
    done = svc.run("wait", "--healthy", "web", ok=False)
    assert "its last check ended with the code 137:\nnote: so" in done.stderr
    assert listed(svc, "web")["status"] == "running"


def test_one_whose_directory_is_gone(svc: World) -> None:
    """What is wrong before its command runs is a failure with its reason."""
    sh(svc, "web", f"rmdir /gone; {LOOP}", "-w", "/gone", "--health-cmd=true", OFTEN, "--health-retries=1")
    done = svc.run("wait", "--healthy", "web", ok=False)
    assert (done.returncode, "cannot enter the working directory" in done.stderr) == (1, True)
    assert health(svc, "web")["code"] == -1


def test_its_supervisor_may_have_no_more_files(svc: World) -> None:
    """However far the start of a check comes, the container goes on, and so do the checks when there are more."""
    sh(svc, "web", LOOP, "--health-cmd=cat /proc/uptime", OFTEN)
    svc.run("wait", "--healthy", "web")
    supervisor = min(supervisors(svc))  # one that becomes a check looks like it for a moment
    for most in range(20, 7, -1):  # poll(2) wants as many as it is asked about
        limit(svc, supervisor, f"--nofile={most}:")
        time.sleep(0.2)
        limit(svc, supervisor, "--nofile=1024:")
        before = health(svc, "web")["output"]
        assert until(lambda before=before: health(svc, "web")["output"] != before)
        assert svc.run("wait", "--healthy", "web")
    state = listed(svc, "web")
    assert (state["status"], state["restarts"]) == ("running", 0)


def test_its_user_may_have_no_more_processes(svc: World) -> None:
    if svc.mode == "root":
        pytest.skip("root may have any number of processes")
    sh(svc, "web", LOOP, "--health-cmd=true", OFTEN, "--health-retries=2")
    svc.run("wait", "--healthy", "web")
    supervisor = min(supervisors(svc))
    limit(svc, supervisor, "--nproc=1:")
    until(lambda: health(svc, "web")["status"] == "unhealthy")
    found = health(svc, "web")
    said = "cannot start a process in the container: resource temporarily unavailable"
    assert (found["code"], found["output"]) == (-1, said)
    limit(svc, supervisor, f"--nproc={resource.getrlimit(resource.RLIMIT_NPROC)[0]}:")
    assert until(lambda: health(svc, "web")["status"] == "healthy")
    assert listed(svc, "web")["restarts"] == 0


def limit(world: World, pid: int, option: str) -> None:
    """Change the soft limit of a process, as whoever it belongs to."""
    need("prlimit")
    subprocess.run([*world.prefix, "prlimit", f"--pid={pid}", option], check=True)


def test_in_the_start_period_a_failure_does_not_count(svc: World) -> None:
    options = ("--health-retries=1", "--health-start-period=1h", "--health-start-interval=50ms", "--health-interval=1h")
    sh(svc, "web", LOOP, "--health-cmd=test -e /well || { echo >> /tries; exit 1; }", *options)
    exec_until(svc, "web", "test $(wc -l < /tries) -ge 3")
    assert (health(svc, "web")["status"], health(svc, "web")["streak"]) == ("starting", 0)
    exec_as_root(svc, "web", "touch", "/well")
    assert svc.run("wait", "--healthy", "web").stdout == "web\n"


def test_others_are_served_meanwhile(svc: World) -> None:
    """A check that hangs keeps nobody from the log, from `exec` and from `stop`."""
    sh(svc, "web", f"trap 'exit 4' TERM; echo ready; {LOOP}", "--health-cmd=touch /begun; sleep 9876", OFTEN)
    exec_until(svc, "web", "test -e /begun")
    assert log(svc, "web") == "ready\n"
    svc.run("stop", "web")
    assert listed(svc, "web")["code"] == 4


def test_ps_as_json(checked: World) -> None:
    sh(checked, "web", "exit 0", "--no-healthcheck")
    checked.run("wait", "web")
    (row,) = json.loads(checked.run("ps", "-a", "--json").stdout)
    assert row["health"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-d", "--health-interval=5"), "lacks a unit"),
        (("-d", "--health-interval=-5s"), "less than a millisecond"),
        (("-d", "--health-timeout=5us"), "less than a millisecond"),
        (("-d", "--health-retries=-1"), "no number of checks"),
        (("-d", "--health-cmd="), "has no command"),
        (("-d", "--health-interval=5s"), "the image has no health check"),
        (("-d", "--no-healthcheck", "--health-cmd=true"), "contradict each other"),
        (("--health-cmd=true",), "for containers in the background"),
        (("--no-healthcheck",), "for containers in the background"),
    ],
)
def test_what_is_refused(svc: World, options: tuple[str, ...], message: str) -> None:
    done = svc.run("run", *options, "svc", "true", ok=False)
    assert done.returncode == 125
    assert message in done.stderr
    assert svc.run("ps", "-aq").stdout == ""


def test_one_is_started_again_once_its_supervisor_may_open_files(svc: World) -> None:
    """With a policy that wants that: that there was no room for a start is no end for good."""
    sh(svc, "web", "echo begun; sleep 0.3", "--restart=always")
    supervisor = min(supervisors(svc))
    limit(svc, supervisor, "--nofile=8:")
    time.sleep(1.5)  # nor may it write down how it is
    limit(svc, supervisor, "--nofile=1024:")
    before = log(svc, "web").count("begun")
    assert until(lambda: log(svc, "web").count("begun") > before)
