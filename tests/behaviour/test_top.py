"""`pybuild top`: the processes of a container with this machine's numbers, as its ps has them."""

from __future__ import annotations

import subprocess

from tests.behaviour.containers import LOOP, log, sh, until
from tests.behaviour.world import World


def rows(world: World, *argv: str) -> list[list[str]]:
    head, *found = world.run("top", *argv).stdout.splitlines()
    assert head.split()[1] == "PID"
    return [line.split() for line in found]


def test_the_same_as_ps(svc: World) -> None:
    seconds = "1000100" if svc.mode == "root" else "1000200"
    script = f"sleep {seconds} & su app -s /bin/sh -c 'sleep {seconds}7' & echo ready; {LOOP}"
    sh(svc, "web", script)
    until(lambda: len([row for row in rows(svc, "web") if row[7:9] == ["sleep", f"{seconds}7"]]) == 1)
    found = [row for row in rows(svc, "web") if "sleep" in row[7] and row[8].startswith(seconds)]
    assert len(found) == 2
    theirs = {}
    for line in subprocess.run(["ps", "-ef"], capture_output=True, text=True, check=True).stdout.splitlines():
        fields = line.split()
        theirs[fields[1]] = fields
    first = rows(svc, "web")[0]
    for row in (*found, first):
        other = theirs[row[1]]
        # Its C and STIME are rounded otherwise, and it cuts long names.
        assert (row[1], row[2], row[5], row[6]) == (other[1], other[2], other[5], other[6])
        assert row[7:9] == other[7:9]
        assert row[0].startswith(other[0].rstrip("+"))
    assert {row[2] for row in found} <= {row[1] for row in rows(svc, "web")}
    svc.run("stop", "-t0", "web")
    done = svc.run("top", "web", ok=False)
    assert (done.returncode, "is not running" in done.stderr) == (2, True)


def test_options_of_ps(svc: World) -> None:
    sh(svc, "web", f"sleep 1000300 & {LOOP}")
    until(lambda: any("1000300" in row for row in rows(svc, "web")))
    # Those that stay: beside them a `sleep` comes and goes, and is a shell for a moment.
    expected = set.intersection(*[{row[1] for row in rows(svc, "web")} for _ in range(4)])
    assert len(expected) == 2
    pids = {line.split()[0] for line in svc.run("top", "web", "-o", "pid,args").stdout.splitlines()[1:]}
    assert expected <= pids
    forest = svc.run("top", "web", "f", "-e").stdout  # which ps does not take with -q
    assert expected <= {line.split()[0] for line in forest.splitlines()[1:]}
    assert "pybuild" not in forest
    assert svc.run("top", "web", "aux").stdout.splitlines()[0].split()[:2] == ["USER", "PID"]
    for options in (("-o", "comm"), ("--no-such-option",)):
        done = svc.run("top", "web", *options, ok=False)
        if options[0] == "-o":
            assert done.stdout.startswith("COMMAND")
        else:
            assert (done.returncode, "error: ps did not say" in done.stderr) == (2, True)


def test_processes_that_come_and_go(svc: World) -> None:
    sh(svc, "web", "while :; do (true | true | true) & true; done")
    for _ in range(15):
        assert rows(svc, "web")


def test_what_a_process_calls_itself(svc: World) -> None:
    sh(svc, "web", r"sh -c 'sleep 1000400; true' \"$(printf 'a\033[2Jb\nc')\" & echo ready; " + LOOP)
    until(lambda: "ready" in log(svc, "web"))
    shown = until(lambda: (text := svc.run("top", "web").stdout) and "1000400; true" in text and text)
    assert "\x1b" not in shown
    assert r"\x1b[2Jb" in shown


def test_those_of_namespaces_below_are_the_containers_too(svc: World) -> None:
    rights = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined")
    sh(svc, "web", f"unshare -p -f sh -c 'sleep 1000500; true' & echo ready; {LOOP}", *rights)
    until(lambda: any("1000500" in " ".join(row) and row[7] == "sleep" for row in rows(svc, "web")))
