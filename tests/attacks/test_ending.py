"""Commands that will not end, that go on in the background, and that lose the pybuild which started them."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.attacks.doors import Door

STUBBORN = "trap '' HUP INT TERM QUIT USR1 USR2 TSTP PIPE; "
# Nobody waits this long: what is started here would sleep for longer.
PATIENCE = 60


def start(door: Door, script: str, *options: str) -> subprocess.Popen[str]:
    """Start a command that says "begun" when it is on its way, in a session of its own; returns when it has said so."""
    process = subprocess.Popen(
        door.world.command(*door.line(("sh", "-c", script), *options)),
        cwd=door.world.project,
        env=door.world.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[-1:] == ["begun"] and "echo" not in line:
            return process
    raise AssertionError("it did not begin")


def ended(door: Door, process: subprocess.Popen[str]) -> int:
    """Its exit code, when it and everything that it had started have ended."""
    process.communicate(timeout=PATIENCE)
    assert door.running() == []
    return process.returncode


@pytest.mark.attack("S15")
def test_what_goes_on_in_the_background(door: Door) -> None:
    """A daemon of two forks and a session of its own, one that holds both outputs, one that ignores every signal."""
    seen = door.sh(
        f"(setsid sh -c '(sleep 5000 &) ; sleep 5000' &); sleep 5000 & ({STUBBORN} while :; do sleep 1000; done) & "
        "(while :; do echo noise; sleep 1; done) & echo over"
    )
    assert seen.code == 0, seen
    assert "over" in seen.out


@pytest.mark.attack("S16")
def test_one_that_hears_no_signal(door: Door) -> None:
    process = start(door, f"{STUBBORN} echo begun; while :; do sleep 1000; done")
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < deadline, "it goes on"
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert ended(door, process) == {"build": 130, "run": 137}[door.kind]


@pytest.mark.attack("S16")
def test_one_that_stops_itself_and_all_that_it_sees(door: Door) -> None:
    process = start(door, "sleep 5000 & echo begun; kill -STOP -1; kill -STOP $$; while :; do sleep 1000; done")
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < deadline, "it goes on"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    assert ended(door, process) != 0


@pytest.mark.attack("S16")
def test_a_zombie_of_many_children(door: Door) -> None:
    """Its first process execs something that never waits; the children of its children are nobody's."""
    seen = door.sh("for n in $(seq 200); do (sh -c 'exit 3' & exec sleep 0.01) & done; exec sleep 0.3")
    assert seen.code == 0, seen


@pytest.mark.attack("S17")
def test_sigkill_of_pybuild(door: Door) -> None:
    process = start(door, f"(setsid sleep 5000 &); ({STUBBORN} while :; do sleep 1000; done) & echo begun; sleep 5000")
    process.kill()
    process.wait()
    assert door.running() == []
    assert process.stdout is not None
    process.stdout.close()
    door.canary.check()
    # What it had begun in the store goes with the next command.
    assert door.sh("echo again").out == ["again"]


@pytest.mark.attack("S22")
def test_files_and_clocks_of_another_time(door: Door) -> None:
    """Files of the far past and future, and of a time that no image can have, are no more than files."""
    seen = door.sh(
        "touch -d @0 /old; touch -d @4294967295 /new; touch -d @99999999999 /far; touch -d '1950-01-01' /b; ls -d /old"
    )
    assert seen.code == 0, seen
    door.world.run("cache", "prune")
    door.world.run("cache", "verify")
    assert door.sh("echo again").out == ["again"]
