"""`pybuild run --init`: who is process 1, what becomes of zombies, signals and exit codes, and who can write to it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.containers import LOOP, listed, log, sh, until
from tests.behaviour.world import World
from tests.needs import need

ORPHAN = "(sleep 0.1 & echo $! > /orphan); exec sleep 4321"
ZOMBIE = "test -e /orphan && grep -q '^State:.Z' /proc/$(cat /orphan)/status"
GONE = "test -e /orphan && test ! -e /proc/$(cat /orphan)"
HIDDEN = {"tini": (), "catatonit": ("docker-init", "tini-static"), "none": ("docker-init", "tini-static", "catatonit")}


def without(world: World, hidden: tuple[str, ...], *argv: str) -> subprocess.CompletedProcess[str]:
    """pybuild on a machine without some programs of this one: an empty file lies over each."""
    script = 'for name in $0; do path=$(command -v $name || :); [ -z "$path" ] || mount --bind /dev/null $path; done'
    command = ["unshare", "-m", "sh", "-ec", f'{script}; exec "$@"', " ".join(hidden), *world.command(*argv)]
    return subprocess.run(
        command, cwd=world.project, env=world.environment(), capture_output=True, text=True, timeout=60, check=False
    )


def inside(world: World, name: str, script: str) -> bool:
    return world.run("exec", "-u", "0", name, "sh", "-c", script, ok=False).returncode == 0


@pytest.fixture(params=["tini", "catatonit"])
def hidden(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What is not there, so that the one of that name is taken."""
    need("tini-static", "catatonit", "unshare")
    if os.geteuid() != 0:
        pytest.skip("needs root to hide programs")
    return HIDDEN[request.param]


def test_zombies_are_reaped(svc: World, hidden: tuple[str, ...]) -> None:
    done = without(svc, hidden, "run", "-d", "--name=web", "--init", "svc", "sh", "-c", ORPHAN)
    assert done.returncode == 0, done.stderr
    until(lambda: inside(svc, "web", GONE))
    first = svc.run("exec", "web", "cat", "/proc/1/cmdline").stdout.split("\0")
    assert first[:5] == ["/dev/init", "--", "sh", "-c", ORPHAN]
    assert listed(svc, "web")["command"] == ["sh", "-c", ORPHAN]


def test_without_it_they_stay(svc: World) -> None:
    sh(svc, "web", ORPHAN)
    until(lambda: inside(svc, "web", ZOMBIE))
    assert not inside(svc, "web", "test -e /dev/init")


def test_exit_codes_and_signals(svc: World, hidden: tuple[str, ...]) -> None:
    run = ("run", "--init", "svc", "sh", "-c")
    assert without(svc, hidden, *run, "exit 5").returncode == 5
    assert without(svc, hidden, *run, "kill -9 $$").returncode == 137
    for script, code in ((f"trap 'exit 7' TERM; echo ready; {LOOP}", 7), ("echo ready; exec sleep 4321", 143)):
        begun = without(
            svc, hidden, "run", "-d", "--name=web", "--init", "--stop-timeout=60", "svc", "sh", "-c", script
        )
        assert begun.returncode == 0, begun.stderr
        until(lambda: log(svc, "web") == "ready\n")
        svc.run("stop", "web")  # without it, sleep as process 1 would not hear the signal at all
        assert listed(svc, "web")["code"] == code
        svc.run("rm", "web")


def test_in_the_foreground(svc: World) -> None:
    need("tini-static")
    command = svc.command("run", "--init", "svc", "sh", "-c", "echo ready; exec sleep 4321")
    with subprocess.Popen(
        command, cwd=svc.project, env=svc.environment(), stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=60) == 143
    missing = svc.run("run", "--init", "svc", "no-such-program", ok=False)
    assert (missing.returncode, "no-such-program" in missing.stderr) == (127, True)
    assert svc.run("run", "--init", "svc", "/etc", ok=False).returncode == 126
    assert svc.run("run", "--init", "--hardened", "svc", "sh", "-c", "exit 3", ok=False).returncode == 3
    assert svc.run("run", "--init", "-u", "77", "svc", "sh", "-c", "id -u; test $$ != 1").stdout == "77\n"
    assert svc.run("run", "--init", "-t", "svc", "tty").stdout.startswith("/dev/pts/")


def test_the_file_of_process_1_cannot_be_written(svc: World) -> None:
    """It is this machine's own (CVE-2019-5736): not through /proc, and not by its name, whoever tries."""
    need("tini-static")
    path = Path(os.path.realpath("/usr/bin/tini-static"))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    sh(svc, "web", ORPHAN, "--init")
    for place in ("/proc/1/exe", "/dev/init"):
        tries = [f"echo x > {place}", f"echo x >> {place}", f"chmod 666 {place}", f"chown 7 {place}", f"touch {place}"]
        for script in (*tries, "rm -f /dev/init", "mount -o remount,rw /dev/init", "umount /dev/init"):
            assert not inside(svc, "web", script), script
    svc.run("exec", "web", "test", "-x", "/dev/init")
    svc.run("stop", "web")
    assert not inside(svc, "web", "true")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert path.stat().st_mode & 0o7777 == 0o755
    upper = svc.store / "containers" / listed(svc, "web")["id"] / "upper"
    assert not (upper / "dev" / "init").exists()


@pytest.mark.peers
@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_another_runtime(svc: World, runtime: str) -> None:
    need(runtime, "tini-static")
    script = "tr '\\0' ' ' < /proc/1/cmdline; exit 6"
    done = svc.run("run", f"--runtime={runtime}", "--init", "svc", "sh", "-c", script, ok=False)
    assert (done.returncode, done.stdout.startswith("/dev/init -- sh -c ")) == (6, True), done.stderr


def test_a_machine_without_one(svc: World) -> None:
    need("unshare")
    if os.geteuid() != 0:
        pytest.skip("needs root to hide programs")
    for options in ((), ("-d",)):
        done = without(svc, HIDDEN["none"], "run", "--init", *options, "svc", "true")
        assert done.returncode == 125
        assert "there is no init program for `--init` here" in done.stderr
        assert "apt-get install tini" in done.stderr
    assert svc.run("ps", "-aq").stdout == ""


def test_a_mount_in_its_way(svc: World) -> None:
    done = svc.run("run", "--init", "-v", "/dev:/dev", "svc", "true", ok=False)
    assert (done.returncode, "a mount is to be at `/dev`" in done.stderr) == (125, True)
