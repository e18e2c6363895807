"""Commands that use up whatever there is: they end, and pybuild and the machine do not."""

from __future__ import annotations

import resource
import subprocess

import pytest

from buildkit_py.sandbox.limits import hierarchies
from tests.attacks.doors import Door
from tests.behaviour.watched import leftovers


def limit(door: Door, kind: str, option: str, flag: str = "") -> dict[str, object]:
    """Options of a limit that the kernel enforces, by either door. Skips the test where nobody may set it here."""
    if not any(kind in hierarchy.controllers for hierarchy in hierarchies()):
        pytest.skip(f"missing in this kernel: control groups with `{kind}`")
    if door.world.mode == "user":
        pytest.skip(f"missing on this machine: a control group with `{kind}` that an ordinary user may write to")
    return {"flags": option} if door.kind == "build" else {"options": option}


@pytest.mark.attack("S14")
def test_memory(door: Door) -> None:
    given = limit(door, "memory", "--memory=32m")
    hog = "tail /dev/zero"
    seen = door.sh(hog, flags="--memory=32m") if "flags" in given else door.sh(hog, "--memory=32m")
    assert seen.code in (1, 137)
    assert "out of memory" in seen.said or seen.code == 137


@pytest.mark.attack("S14", by="run")
@pytest.mark.parametrize("door", ["run"], indirect=True)
def test_processes(door: Door) -> None:
    """A fork bomb runs into the limit that the kernel keeps. A RUN has no such flag, as in BuildKit: see the next."""
    limit(door, "pids", "")
    # Nothing but what the shell does by itself: it may start no process any more. Without a limit there is no bomb.
    script = (
        "g=/sys/fs/cgroup; [ -f $g/pids.max ] || g=$g/pids; read -r most < $g/pids.max; [ $most = 50 ] || exit 9; "
        "bomb() { bomb | bomb & }; bomb 2>/dev/null; "
        "while read -r name refused < $g/pids.events && [ $refused = 0 ]; do :; done; echo $name $refused"
    )
    seen = door.sh(script, "--pids-limit=50")
    assert seen.code == 0, seen
    name, refused = seen.out[-1].split()
    assert (name, int(refused) > 0) == ("max", True)
    assert door.sh(script).code == 9


@pytest.mark.attack("S14")
def test_processes_without_a_limit(door: Door) -> None:
    """Five hundred at once, all of which end with the first."""
    assert "end" in door.sh("n=0; while [ $n -lt 500 ]; do sleep 5000 & n=$((n+1)); done; echo end").out


@pytest.mark.attack("S14")
def test_shared_memory_and_descriptors(door: Door) -> None:
    """/dev/shm has 64 MiB, /dev nearly as much, and descriptors end where those of who started it do."""
    seen = door.sh(
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null; wc -c < /dev/shm/x; "
        "dd if=/dev/zero of=/dev/x bs=1M count=100 2>/dev/null; wc -c < /dev/x; ulimit -Hn"
    )
    assert int(seen.out[0]) == 64 << 20
    assert int(seen.out[1]) <= 64 << 20
    assert int(seen.out[2]) <= resource.getrlimit(resource.RLIMIT_NOFILE)[1]


FLOODS = {
    "one line without end": "head -c 100000000 /dev/zero | tr '\\0' x",
    "many lines": "yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx | head -n 100000",
    "bytes that are no text": "head -c 20000000 /dev/urandom",
}


@pytest.mark.slow
@pytest.mark.attack("S14")
@pytest.mark.parametrize("flood", FLOODS)
def test_output_without_end(door: Door, flood: str) -> None:
    """It takes no memory, and the log of a step is cut, with a note (64 MiB)."""
    line = door.world.command(*door.line(("sh", "-c", FLOODS[flood])))
    # Reads all of it, and says how much memory the whole family took at most.
    script = (
        "import os, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    python = line.index("-m") - 1
    done = subprocess.run(
        [*line[:python], line[python], "-c", script, *line[python:]],
        cwd=door.world.project,
        env=door.world.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    code, most = (int(word) for word in done.stdout.split())
    assert code == 0
    assert most < 300 << 10, "kilobytes"
    logs = [path.stat().st_size for path in door.world.store.glob("builds/*/*.log")]
    assert all(size < 66 << 20 for size in logs), logs
    door.check()


@pytest.mark.attack("S14")
def test_many_small_files(door: Door) -> None:
    """Fifty thousand in one directory, some with names that are no text, on top of each other's layers."""
    script = (
        "mkdir /many && cd /many && n=0; while [ $n -lt 500 ]; do mkdir $n; n=$((n+1)); done; "
        "seq 50000 | while read n; do echo $((n % 500))/f$n; done | xargs touch; "
        "printf 'x' > \"$(printf 'a\\nb\\033[2J\\377')\"; find /many -type f | wc -l"
    )
    seen = door.sh(script)
    assert seen.code == 0, seen
    assert seen.out[-1].isdigit()
    assert "\x1b" not in seen.said


@pytest.mark.attack("S14")
def test_a_directory_too_deep_for_any_path(door: Door) -> None:
    """Fifteen hundred, of which no path of the machine leads to the last ones: an error of the build, or nothing."""
    seen = door.sh(
        "n=0; while [ $n -lt 1500 ]; do mkdir dddd && cd dddd || break; n=$((n+1)); done 2>/dev/null; echo $n"
    )
    assert int(seen.out[0]) > 700
    assert seen.code == {"build": 5, "run": 0}[door.kind], seen
    assert ("nests too deeply" in seen.said) == (door.kind == "build")
    door.world.run("cache", "prune", "--all")
    assert leftovers(door.world) == []
