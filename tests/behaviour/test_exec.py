"""Commands in containers that run: what they are, how they end, and that nobody in there gets at what starts them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.behaviour.containers import LOOP, begin, log, removed_at_the_end, sh, until
from tests.behaviour.world import World
from tests.needs import need

NAMESPACES = "for n in mnt pid net uts ipc cgroup user; do readlink /proc/self/ns/$n; done"


@pytest.fixture
def web(world: World, base_layout: Path) -> Iterator[World]:
    """A world with a container `web` of an image that sets things."""
    world.write({"Dockerfile": "FROM busybox\nWORKDIR /work\nENV FROM_IMAGE=1\nUSER 7:8\n"})
    world.run("build", "-t", "svc", f"--build-context=busybox=oci-layout://{base_layout}", ".")
    with removed_at_the_end(world):
        sh(world, "web", f"{NAMESPACES}; echo ready; {LOOP}", "-e", "FROM_RUN=2")
        until(lambda: "ready" in log(world, "web"))
        yield world


def test_it_is_beside_the_containers_own_command(web: World) -> None:
    script = "echo $FROM_IMAGE $FROM_RUN $MORE; pwd; id -u; id -g; hostname; touch /tmp/made"
    done = web.run("exec", "-e", "MORE=3", "-u", "0", "-w", "/tmp", "web", "sh", "-c", script)
    hostname = web.run("ps", "-q").stdout[:12]
    assert done.stdout.split() == ["1", "2", "3", "/tmp", "0", "0", hostname]
    assert web.run("exec", "web", "ls", "/tmp").stdout == "made\n"
    assert web.run("exec", "web", "pwd").stdout == "/work\n"
    rights = "cat /proc/self/status /proc/1/status | grep -E 'CapBnd|Seccomp:|NoNewPrivs|^Uid|^Gid' | sort | uniq -c"
    assert {line.split()[0] for line in web.run("exec", "web", "sh", "-c", rights).stdout.splitlines()} == {"2"}
    mine = web.run("exec", "web", "sh", "-c", NAMESPACES).stdout
    assert mine.count("\n") == 7
    assert log(web, "web").startswith(mine)
    assert web.run("exec", "web", "sh", "-c", "ls /proc/self/fd | wc -l").stdout == "4\n"  # and that of ls


def test_how_it_ends(web: World) -> None:
    for script, code in (("exit 5", 5), ("kill -9 $$", 137)):
        assert web.run("exec", "web", "sh", "-c", script, ok=False).returncode == code
    absent = web.run("exec", "web", "no-such-program", ok=False)
    assert (absent.returncode, "executable file not found" in absent.stderr) == (127, True)
    assert web.run("exec", "web", "/etc", ok=False).returncode == 126
    for wrong in (("-w", "/nowhere"), ("-w", "relative"), ("-u", "nobody-of-this-name"), ("-it",)):
        done = web.run("exec", *wrong, "web", "true", ok=False)
        assert done.returncode == 125
        assert "error: " in done.stderr
    assert web.run("exec", "-i", "web", "cat", stdin="typed\n").stdout == "typed\n"
    assert web.run("exec", "web", "cat", stdin="typed\n").stdout == ""
    web.run("stop", "-t0", "web")
    gone = web.run("exec", "web", "true", ok=False)
    assert (gone.returncode, "is not running" in gone.stderr) == (125, True)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("--nofile=6", "cannot connect standard input and output: too many open files"),
        ("--nofile=8", "cannot start a process in the container: too many open files"),
        ("--nproc=1", "cannot start a process in the container: resource temporarily unavailable\n\nhint: "),
    ],
)
def test_what_this_machine_has_no_more_of(web: World, limit: str, said: str) -> None:
    need("prlimit")
    if limit == "--nproc=1" and web.mode == "root":
        pytest.skip("root may have any number of processes")
    inside = shlex.join(["prlimit", limit, *web.command("exec", "web", "true")[len(web.prefix) :]])
    # With pipes that are those of who runs it, which are handed over as they are.
    script = f"{{ {inside} 2>&1; echo code $?; }} < /dev/null | cat"
    done = subprocess.run(
        [*web.prefix, "sh", "-c", script],
        cwd=web.project,
        env=web.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said in done.stdout, done.stdout
    assert done.stdout.endswith("code 125\n")


def test_signals_and_the_containers_end(web: World) -> None:
    one = begin(web, "exec", "web", "sh", "-c", f"trap 'echo heard; exit 3' TERM; echo ready; {LOOP}")
    assert one.stdout is not None
    assert one.stdout.readline() == "ready\n"
    one.send_signal(signal.SIGTERM)
    assert one.communicate(timeout=60)[0] == "heard\n"
    assert one.returncode == 3
    other = begin(web, "exec", "web", "sh", "-c", f"echo ready; {LOOP}")
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    web.run("stop", "-t0", "web")
    other.communicate(timeout=60)
    assert other.returncode == 137


def test_who_is_killed_leaves_no_command_behind(web: World) -> None:
    one = begin(web, "exec", "web", "sh", "-c", "echo ready; sleep 98765")
    assert one.stdout is not None
    assert one.stdout.readline() == "ready\n"
    one.kill()
    one.communicate(timeout=60)
    # The kernel kills the command; what it started in turn is the container's.
    until(lambda: "sh -c echo ready; sleep" not in web.run("exec", "web", "ps").stdout)


def test_a_terminal(web: World) -> None:
    command = web.command("exec", "-it", "web", "sh")
    child = pexpect.spawn(
        command[0], command[1:], cwd=str(web.project), env=web.environment(), encoding="utf-8", dimensions=(31, 77)
    )
    child.expect("/work [$#] ")
    child.sendline("stty size; tty; echo term=$TERM")
    child.expect("31 77")
    child.expect("/dev/pts/")
    child.expect("term=xterm")
    child.sendline("sleep 1000")
    time.sleep(0.5)
    child.sendcontrol("c")
    child.sendline("exit 6")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 6


def test_a_shell_with_a_job_in_the_background_ends(web: World) -> None:
    command = web.command("exec", "-it", "web", "sh")
    child = pexpect.spawn(command[0], command[1:], cwd=str(web.project), env=web.environment(), encoding="utf-8")
    child.expect("/work [$#] ")
    child.sendline("sleep 98766 &")
    child.sendline("exit 4")
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    assert child.exitstatus == 4


def test_a_terminal_has_its_size_from_the_beginning(web: World) -> None:
    command = web.command("exec", "-it", "web", "stty", "size")
    for number in range(6):
        size = (31 + number, 77)
        child = pexpect.spawn(
            command[0], command[1:], cwd=str(web.project), env=web.environment(), encoding="utf-8", dimensions=size
        )
        child.expect(pexpect.EOF, timeout=60)
        child.close()
        assert (child.before or "").split() == [str(one) for one in size]


def test_a_terminal_of_the_containers_own_kind(web: World) -> None:
    sh(web, "other", f"echo ready; {LOOP}", "-e", "TERM=vt100")
    assert web.run("exec", "-t", "other", "sh", "-c", "echo $TERM").stdout.split() == ["vt100"]


@pytest.mark.attack("S2", by="run")
def test_nobody_in_there_gets_at_the_interpreter_that_starts_it(web: World) -> None:
    """CVE-2019-5736: until its exec the new process is this machine's Python, and `/proc/PID/exe` leads to its file."""
    watch = "while :; do for p in /proc/[0-9]*; do readlink $p/exe; cat $p/maps; done 2>/dev/null; done"
    watcher = begin(web, "exec", "-u", "0", "web", "sh", "-c", watch)
    try:
        for _ in range(5):  # with so much to look through that it takes its time
            web.run("exec", "-u", "0", "-e", "PATH=" + "/x:" * 40_000 + "/bin", "web", "true")
    finally:
        watcher.kill()
        seen = set(watcher.communicate(timeout=60)[0].split())
    assert any("busybox" in word for word in seen)
    assert not [word for word in seen if "python" in word or str(os.path.dirname(os.__file__)) in word]
