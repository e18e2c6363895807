"""`pybuild run` of images that were built here: its exit codes, what the command sees, and that nothing stays."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.watched import leftovers, watch
from tests.behaviour.world import World

DOCKERFILE = """\
FROM busybox
RUN mkdir -p /data /work && echo seed > /data/seed && chmod 777 /data /work && printf x > /not-executable
ENV COLOUR=blue
WORKDIR /work
USER app
VOLUME /data
CMD ["sh", "-c", "echo by default"]
"""


@pytest.fixture
def image(world: World, base_layout: Path) -> World:
    """A world with the image `box`."""
    world.write({"Dockerfile": DOCKERFILE})
    world.build(f"--build-context=busybox=oci-layout://{base_layout}", "-t", "box")
    world.run("run", "box", "true")  # what it unpacks is shown, and that is not what is looked at here
    return world


def run(world: World, *argv: str) -> subprocess.CompletedProcess[str]:
    done = world.run("run", *argv, ok=False)
    assert leftovers(world) == []
    return done


def test_exit_codes(image: World) -> None:
    cases = {
        ("box", "true"): 0,
        ("box", "sh", "-c", "exit 42"): 42,
        ("box", "no-such-command"): 127,
        ("box", "/no/such"): 127,
        ("box", "/not-executable"): 126,
        ("box", "/data"): 126,
        ("box", "sh", "-c", "sh -c 'kill -9 $$' 2>/dev/null; exit $?"): 137,
        ("-u", "nobody-here", "box", "true"): 125,
        ("-w", "relative", "box", "true"): 125,
        ("-v", "./gone:/x", "box", "true"): 125,
        ("--bogus", "box", "true"): 125,
        ("127.0.0.1:1/none", "true"): 125,
    }
    for argv, code in cases.items():
        done = run(image, *argv)
        assert done.returncode == code, (argv, done.stderr)
        # Only what was not started has a message of ours; that a shell reports a killed child is the shell's.
        assert ("error: " in done.stderr or "exec: " in done.stderr) == (code in (125, 126, 127)), (argv, done.stderr)


def test_what_the_image_says_and_what_is_given(image: World) -> None:
    assert run(image, "box").stdout == "by default\n"
    shown = "id -un; id -g; pwd; echo $COLOUR $MORE; hostname"
    assert (
        run(image, "-h", "shop", "-e", "MORE=m", "box", "sh", "-c", shown).stdout == "app\n1000\n/work\nblue m\nshop\n"
    )
    done = run(image, "-u", "0", "-w", "/data", "-e", "COLOUR=red", "box", "sh", "-c", shown)
    assert done.stdout.split("\n")[:4] == ["root", "0", "/data", "red"]
    assert run(image, "--entrypoint", "/bin/echo", "box", "words").stdout == "words\n"


@pytest.mark.attack("S11", by="run")
def test_two_runs_see_nothing_of_each_other(image: World) -> None:
    assert run(image, "box", "sh", "-c", "echo x > /work/left; rm /data/seed; ps | wc -l").returncode == 0
    assert run(
        image, "box", "sh", "-c", "ls /work; cat /data/seed; test $(ls -d /proc/[0-9]* | wc -l) -le 4"
    ).stdout == ("seed\n")
    image.run("cache", "verify")


def test_a_read_only_root(image: World) -> None:
    done = run(image, "--read-only", "-u", "0", "box", "sh", "-c", "echo x > /new || echo refused")
    assert done.stdout == "refused\n"
    # A VOLUME of the image stays writable, as docker has it.
    assert (
        run(image, "--read-only", "box", "sh", "-c", "echo y > /data/new && cat /data/new /data/seed").stdout
        == "y\nseed\n"
    )


def test_files_of_etc_are_read_only_with_it(image: World) -> None:
    script = "for f in hosts hostname resolv.conf; do echo x 2>/dev/null >> /etc/$f && echo wrote $f; done; true"
    assert run(image, "--read-only", "-u", "0", "box", "sh", "-c", script).stdout == ""
    assert run(image, "-u", "0", "box", "sh", "-c", script).stdout.count("wrote") == 3


def test_volumes(image: World) -> None:
    image.write({"shared/in": "from here\n"})
    (image.project / "shared").chmod(0o777)
    done = run(image, "-v", "./shared:/mnt", "box", "sh", "-c", "cat /mnt/in; echo back > /mnt/out")
    assert (done.returncode, done.stdout) == (0, "from here\n")
    assert (image.project / "shared/out").read_text() == "back\n"
    assert run(image, "-v", "./shared:/mnt:ro", "box", "sh", "-c", "echo x > /mnt/refused").returncode != 0
    assert not (image.project / "shared/refused").exists()


def test_no_network(image: World) -> None:
    done = run(image, "--network", "none", "box", "sh", "-c", "ls /sys/class/net")
    assert done.stdout == "lo\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_are_passed_on(image: World, signum: signal.Signals) -> None:
    script = f"trap 'echo got; exit 9' {signum.name[3:]}; echo begun; while true; do sleep 0.05; done"
    end = watch(image, "run", "box", "sh", "-c", script, until="begun\n", signals=[signum])
    assert (end.code, end.output) == (9, "begun\ngot\n")
    assert leftovers(image) == []


@pytest.mark.attack("S17", by="run")
def test_kill_takes_the_container_along(image: World) -> None:
    script = "sleep 300 & echo begun; sleep 300"
    end = watch(image, "run", "box", "sh", "-c", script, until="begun\n", signals=[signal.SIGKILL], alone=True)
    assert end.code == -signal.SIGKILL
    image.run("cache", "prune")
    assert leftovers(image) == []


def test_what_is_left_running_ends_with_the_command(image: World) -> None:
    end = watch(image, "run", "box", "sh", "-c", "sleep 300 & setsid sleep 300 & echo over")
    assert (end.code, end.output) == (0, "over\n")
    assert leftovers(image) == []


def test_a_device_that_it_writes_to_is_not_its_own(image: World) -> None:
    """This machine's /dev/null, as standard output and error of somebody who throws both away, and as input."""
    seize = (
        "chmod 600 /proc/self/fd/0 /proc/self/fd/1; chown 77:77 /proc/self/fd/2; echo out; test ! -c /proc/self/fd/1"
    )
    before = os.stat("/dev/null")
    command = image.command("run", "-i", "-u", "root", "box", "sh", "-c", seize)
    done = subprocess.run(
        command,
        cwd=image.project,
        env=image.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=240,
        check=False,
    )
    after = os.stat("/dev/null")
    if os.geteuid() == 0:
        os.chmod("/dev/null", before.st_mode & 0o7777)
        os.chown("/dev/null", before.st_uid, before.st_gid)
    assert done.returncode == 0
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_connection_that_it_is_started_on_is_not_its_own(image: World) -> None:
    """As inetd starts what it serves by: it could be connected anew, to what listens on this machine's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        person = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with person, ours:
        person.sendall(b"asked\n")
        person.shutdown(socket.SHUT_WR)
        script = "cat; for n in 0 1 2; do readlink /proc/$$/fd/$n | cut -d: -f1; done"
        child = subprocess.run(
            image.command("run", "-i", "--network=none", "box", "sh", "-c", script),
            cwd=image.project,
            env=image.environment(),
            stdin=ours,
            stdout=ours,
            stderr=ours,
            timeout=240,
            check=False,
        )
        ours.close()
        with person.makefile("r") as answer:
            assert (child.returncode, answer.read().split()) == (0, ["asked", "pipe", "pipe", "pipe"])


def test_output_that_is_lost_is_told(image: World) -> None:
    def onto_a_full_disk(*argv: str) -> tuple[int, str]:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                image.command(*argv),
                cwd=image.project,
                env=image.environment(),
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=240,
                check=False,
            )
        return done.returncode, done.stderr

    said = "error: standard output could not be written: No space left on device\n"
    assert onto_a_full_disk("run", "box", "echo", "important") == (7, said)
    assert onto_a_full_disk("run", "box", "sh", "-c", "echo important; exit 3") == (3, said)
    image.run("run", "-d", "--name=long", "box", "sleep", "1000")
    try:
        assert onto_a_full_disk("exec", "long", "echo", "important") == (7, said)
    finally:
        image.run("rm", "-f", "long")


def test_a_terminal_shows_all_that_it_writes_in_order(image: World) -> None:
    """A terminal that was not asked for inside is a pipe there, one for both streams, as under docker."""
    ours, theirs = pty.openpty()
    script = "test -t 1 && echo terminal; i=0; while [ $i -lt 3000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    child = subprocess.Popen(
        image.command("run", "box", "sh", "-c", script),
        cwd=image.project,
        env=image.environment(),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: nobody has the other side any more
            break
        seen += piece
    os.close(ours)
    assert child.wait(timeout=240) == 0
    wanted = [f"{name} {number}" for number in range(3000) for name in ("out", "err")]
    assert seen.decode().replace("\r", "").splitlines() == wanted


def test_what_goes_on_behind_an_exec_does_not_keep_it(image: World) -> None:
    """An exec ends with its command, though something that the command left behind holds its standard output."""
    image.run("run", "-d", "--name=long", "box", "sleep", "1000")
    try:
        ours, theirs = pty.openpty()
        command = image.command("exec", "long", "sh", "-c", "echo before; sleep 999 & echo after")
        child = subprocess.Popen(
            command, cwd=image.project, env=image.environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        assert child.wait(timeout=200) == 0
        assert os.read(ours, 65536).decode().split() == ["before", "after"]
        os.close(ours)
    finally:
        image.run("rm", "-f", "long")
