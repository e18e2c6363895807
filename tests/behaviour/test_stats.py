"""`pybuild stats`: what containers use, from control groups and from /proc, as a table, in lines and as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pexpect
import pytest

from tests.behaviour.containers import LOOP, begin, log, sh, until
from tests.behaviour.world import World

BUFFER = 60 << 20
# A process with a buffer of that size, which never rests.
BUSY = f"dd if=/dev/zero of=/dev/null bs={BUFFER} count=100000000"
IDLE = "sleep 100000"


def once(world: World, *names: str) -> dict[str, dict[str, Any]]:
    lines = world.run("stats", "--no-stream", "--json", *names).stdout.splitlines()
    return {one["name"]: one for one in map(json.loads, lines)}


def test_what_proc_says(svc: World) -> None:
    sh(svc, "busy", f"echo ready; {BUSY}", "--network=none")
    sh(svc, "idle", f"{IDLE} & {IDLE} & echo ready; {IDLE}")
    for name in ("busy", "idle"):
        until(lambda name=name: "ready" in log(svc, name))
    found = until(lambda: (seen := once(svc)) and seen["busy"]["memory"] > BUFFER and seen)
    assert list(found) == ["idle", "busy"]
    busy, idle = found["busy"], found["idle"]
    assert busy["cpu_percent"] > idle["cpu_percent"] >= 0
    assert busy["memory"] < 2 * BUFFER
    assert 0 < idle["memory"] < BUFFER
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert {one["memory_limit"] for one in found.values()} == {total}
    assert (busy["net_received"], busy["net_sent"]) == (0, 0)
    assert (idle["net_received"], idle["net_sent"]) == (None, None)  # on the machine's own network
    assert busy["block_read"] >= 0
    assert busy["block_written"] >= 0
    assert idle["pids"] == 3
    assert list(once(svc, "idle")) == ["idle"]
    head, first, second = svc.run("stats", "--no-stream").stdout.splitlines()
    assert head.split()[:4] == ["CONTAINER", "NAME", "CPU", "%"]
    assert (first.split()[1], second.split()[1]) == ("idle", "busy")
    assert first.split()[-1] == "3"
    assert " - / - " in first
    assert "0B / 0B" in second


def test_what_control_groups_say(svc: World) -> None:
    if svc.mode != "root":
        pytest.skip("ordinary users have no control group here")
    limits = ("--memory=300m", "--cpus=1.5", "--pids-limit=50")
    sh(svc, "web", f"{IDLE} & echo ready; {BUSY}", *limits)
    until(lambda: "ready" in log(svc, "web"))
    found = until(lambda: (seen := once(svc)["web"]) and seen["memory"] > BUFFER and seen)
    assert found["memory_limit"] == 300 << 20
    assert found["memory"] <= 300 << 20
    assert found["pids"] == 2  # the shell has become the last command
    assert found["cpu_percent"] > 0
    assert "/ 315MB" in svc.run("stats", "--no-stream").stdout


def test_lines_in_a_pipe(svc: World) -> None:
    sh(svc, "web", LOOP)
    process = begin(svc, "stats")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("CONTAINER")
    for _ in range(3):
        assert process.stdout.readline().split()[1] == "web"
    process.send_signal(signal.SIGINT)
    _, problems = process.communicate(timeout=60)
    assert (process.returncode, problems) == (130, "")
    process = begin(svc, "stats", "--json")
    assert process.stdout is not None
    assert {json.loads(process.stdout.readline())["name"] for _ in range(2)} == {"web"}
    process.stdout.close()
    assert process.wait(60) == 141  # nobody reads it any more
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_on_a_terminal(svc: World) -> None:
    sh(svc, "web", LOOP)
    command, *arguments = svc.command("stats")
    child = pexpect.spawn(
        command,
        arguments,
        cwd=str(svc.project),
        env=svc.environment(TERM="xterm"),
        timeout=60,
        encoding="utf-8",
        dimensions=(24, 160),
    )
    child.expect_exact("\x1b[2J\x1b[HCONTAINER")
    child.expect_exact("web")
    child.expect_exact("\x1b[HCONTAINER")  # over the last one
    sh(svc, "new", LOOP)
    child.expect("new[^\n]*\n[^\n]*web")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in (child.before or "")


def test_names(svc: World) -> None:
    sh(svc, "ended", "true")
    svc.run("wait", "ended")
    for names, words in ((("ended",), "`ended` is not running"), (("nobody",), "no container `nobody`")):
        for options in ((), ("--no-stream",)):
            done = svc.run("stats", *options, *names, ok=False)
            assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert svc.run("stats", "--no-stream").stdout.count("\n") == 1
    assert svc.run("stats", "--no-stream", "--json").stdout == ""


@pytest.mark.parametrize("end", [("stop", "-t0"), ("rm", "-f")])
def test_it_ends_with_the_containers_that_were_named(svc: World, end: tuple[str, ...]) -> None:
    sh(svc, "web", LOOP)
    sh(svc, "other", LOOP)
    process = begin(svc, "stats", "web")
    assert process.stdout is not None
    assert process.stdout.readline()
    assert process.stdout.readline().split()[1] == "web"
    svc.run(*end, "web")
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def test_containers_that_come_and_go(svc: World) -> None:
    sh(svc, "stays", "while :; do (true | true) & true; done")
    process = begin(svc, "stats", "--json")
    for number in range(4):
        sh(svc, f"goes-{number}", "true", "--rm")
    until(lambda: _names_of(process, lambda names: names[-3:] == ["stays"] * 3))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 130


def _names_of(process: subprocess.Popen[str], enough: Callable[[list[str]], bool]) -> bool:
    assert process.stdout is not None
    names: list[str] = []
    while not enough(names):
        names.append(json.loads(process.stdout.readline())["name"])
    return True
