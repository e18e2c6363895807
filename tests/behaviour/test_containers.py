"""Containers in the background: started, listed, read, stopped, killed, removed, and their supervisors' ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.behaviour.containers import LOOP, listed, log, sh, supervisors, until
from tests.behaviour.test_disk_full import on_a_small_disk
from tests.behaviour.world import World
from tests.needs import need_way_out
from tests.registry_server import free_port


def test_a_life(svc: World) -> None:
    id = sh(svc, "web", f"trap 'echo bye; exit 3' TERM; cat /file; hostname; echo odd >&2; {LOOP}")
    assert len(id) == 64
    until(lambda: "of-the-image" in log(svc, "web") and svc.run("logs", "web").stderr)
    done = svc.run("logs", id[:8])
    assert (done.stdout, done.stderr) == (f"of-the-image\n{id[:12]}\n", "odd\n")
    row = svc.run("ps").stdout.splitlines()[1]
    assert row.startswith(id[:12])
    assert "up for" in row
    assert svc.run("stop", "web").stdout == "web\n"
    assert svc.run("ps").stdout.count("\n") == 1
    assert "ended (code 3" in svc.run("ps", "-a").stdout
    assert log(svc, "web").endswith("bye\n")
    assert svc.run("wait", "web").stdout == "3\n"
    assert svc.run("stop", "web").stdout == "web\n"
    assert svc.run("kill", "web", ok=False).returncode == 2
    svc.run("rm", "web")
    assert svc.run("ps", "-aq").stdout == ""
    assert os.listdir(svc.store / "containers") == []


def test_what_it_wrote_is_there_when_it_starts_again(svc: World) -> None:
    sh(svc, "web", "echo run >> /runs; cat /runs; echo")
    assert svc.run("wait", "web").stdout == "0\n"
    svc.run("start", "web")
    assert svc.run("wait", "web").stdout == "0\n"
    assert log(svc, "web").split() == ["run", "run", "run"]
    svc.run("start", "web", "nobody", ok=False)
    assert svc.run("wait", "web").stdout == "0\n"


def test_logs_that_follow_and_the_last_lines(svc: World) -> None:
    sh(svc, "web", "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done; printf 'no newline'")
    command = svc.command("logs", "-f", "web")
    follower = subprocess.run(
        command, cwd=svc.project, env=svc.environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert follower.stdout == "line 1\nline 2\nline 3\nline 4\nline 5\nno newline"
    assert log(svc, "web", "-n", "2") == "line 5\nno newline"
    assert log(svc, "web", "--tail=0") == ""
    stamp, _, rest = log(svc, "web", "-t", "-n2").partition(" ")
    assert stamp.endswith("Z")
    assert rest.startswith("line 5")


def test_bytes_and_escapes_in_a_log(svc: World) -> None:
    sh(svc, "web", r"printf 'a\377b\033[2J\n'")
    svc.run("wait", "web")
    assert log(svc, "web") == "a\ufffdb\\x1b[2J\n"
    raw = subprocess.run(
        svc.command("logs", "--raw", "web"), cwd=svc.project, env=svc.environment(), capture_output=True, check=True
    )
    assert raw.stdout == b"a\xffb\x1b[2J\n"


@pytest.mark.attack("S16", by="run")
def test_a_container_that_does_not_hear_is_killed_when_its_time_is_up(svc: World) -> None:
    sh(svc, "deaf", f"trap '' TERM; {LOOP}")
    svc.run("stop", "-t", "0.3", "deaf")
    assert listed(svc, "deaf")["code"] == 137
    sh(svc, "own", f"trap 'exit 7' USR1; echo ready; {LOOP}", "--stop-signal=USR1", "--stop-timeout=20")
    until(lambda: "ready" in log(svc, "own"))
    svc.run("stop", "own")
    assert listed(svc, "own")["code"] == 7


def test_a_time_to_stop_in_of_any_length(svc: World) -> None:
    sh(svc, "web", f"trap 'exit 7' TERM; echo ready; {LOOP}")
    until(lambda: "ready" in log(svc, "web"))
    svc.run("stop", "-t", "3000000", "web")
    assert listed(svc, "web")["code"] == 7


def test_signals(svc: World) -> None:
    sh(svc, "web", f"trap 'echo hup' HUP; echo ready; {LOOP}", "--restart=always")
    until(lambda: "ready" in log(svc, "web"))
    svc.run("kill", "-s", "HUP", "web")
    until(lambda: "hup" in log(svc, "web"))
    svc.run("kill", "web")
    until(lambda: listed(svc, "web")["status"] == "exited")
    assert listed(svc, "web")["code"] == 137
    wrong = svc.run("kill", "-s", "NOPE", "web", ok=False)
    assert wrong.returncode == 2
    assert "`NOPE` is no signal" in wrong.stderr


def test_it_is_started_again_as_its_policy_says(svc: World) -> None:
    sh(svc, "often", "echo x; exit 5", "--restart=on-failure:2")
    svc.run("wait", "often")
    state = listed(svc, "often")
    assert (state["code"], state["restarts"], log(svc, "often")) == (5, 2, "x\nx\nx\n")
    sh(svc, "well", "echo x", "--restart=on-failure")
    svc.run("wait", "well")
    assert log(svc, "well") == "x\n"
    sh(svc, "ever", "echo x", "--restart=always")
    until(lambda: log(svc, "ever").count("x") >= 3)
    svc.run("stop", "ever")
    ended = log(svc, "ever")
    assert listed(svc, "ever")["status"] == "exited"
    assert log(svc, "ever") == ended


def test_one_that_removes_itself(svc: World) -> None:
    sh(svc, "once", "exit 4", "--rm")
    until(lambda: svc.run("ps", "-aq").stdout == "")
    sh(svc, "once", f"trap 'exit 4' TERM; {LOOP}", "--rm")
    supervisor = until(lambda: supervisors(svc))[0]
    before = len(os.listdir(f"/proc/{supervisor}/fd"))
    waiter = subprocess.Popen(
        svc.command("wait", "once"), cwd=svc.project, env=svc.environment(), stdout=subprocess.PIPE, text=True
    )
    until(lambda: len(os.listdir(f"/proc/{supervisor}/fd")) > before)  # it has the waiter's connection
    svc.run("stop", "once")
    assert waiter.communicate(timeout=30)[0] == "4\n"
    assert svc.run("ps", "-aq").stdout == ""


def test_a_supervisor_that_is_killed_leaves_nothing_running(svc: World) -> None:
    marker = f"sleep {time.time_ns() % 10**9 + 10**6}"
    sh(svc, "web", f"{marker} & {marker}", "--restart=always", "--stop-timeout=0.5")
    until(lambda: _running(marker) >= 2)
    (supervisor,) = supervisors(svc)
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not _running(marker))
    state = listed(svc, "web")
    assert (state["status"], state["code"], state["problem"]) == ("exited", 137, "its supervisor was killed")
    assert "its supervisor was killed" in svc.run("ps", "-a").stdout
    assert svc.run("wait", "web").stdout == "137\n"
    svc.run("start", "web")
    assert listed(svc, "web")["status"] == "running"
    os.kill(supervisors(svc)[0], signal.SIGTERM)  # as at a shutdown
    until(lambda: listed(svc, "web")["status"] == "exited")
    assert listed(svc, "web")["problem"] == ""


def _running(command: str) -> int:
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            count += (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ") == command.encode()
        except OSError:
            continue
    return count


def test_its_layers_stay_while_it_is_there(svc: World) -> None:
    sh(svc, "web", "true")
    svc.run("wait", "web")
    svc.run("rmi", "svc")
    svc.run("cache", "prune", "--all")
    svc.run("start", "web")
    assert svc.run("wait", "web").stdout == "0\n"
    assert "containers" in svc.run("cache", "du").stdout
    svc.run("rm", "web")
    svc.run("cache", "prune", "--all")
    assert os.listdir(svc.store / "layers") == []


def test_a_store_that_is_too_large_keeps_what_a_container_stands_on(svc: World) -> None:
    sh(svc, "web", f"cat /file; {LOOP}")
    until(lambda: "of-the-image" in log(svc, "web"))
    svc.run("rmi", "svc")
    svc.run("cache", "prune", "--cache-max=1m")
    svc.run("stop", "-t", "0", "web")
    svc.run("start", "web")
    until(lambda: log(svc, "web").count("of-the-image") == 2)


def test_names(svc: World) -> None:
    sh(svc, "web", LOOP)
    taken = svc.run("run", "-d", "--name=web", "svc", ok=False)
    assert taken.returncode == 125
    assert "has the name `web`" in taken.stderr
    bad = svc.run("run", "-d", "--name=../x", "svc", ok=False)
    assert bad.returncode == 125
    assert "cannot be the name of a container" in bad.stderr
    id = svc.run("run", "-d", "svc", "true").stdout.strip()
    assert listed(svc, f"svc-{id[:6]}")["id"] == id
    for command in ("stop", "start", "kill", "wait", "rm"):
        done = svc.run(command, "nobody", ok=False)
        assert done.returncode == 2
        assert "there is no container `nobody`" in done.stderr
    running = svc.run("rm", "web", ok=False)
    assert running.returncode == 2
    assert "is running" in running.stderr
    assert svc.run("start", "web", ok=False).returncode == 2


def test_the_beginning_of_an_id(svc: World) -> None:
    ids = [svc.run("run", "-d", "svc", "echo", f"of {number}").stdout.strip() for number in range(17)]
    by_first = {id[0]: [one for one in ids if one[0] == id[0]] for id in ids}
    for first, those in by_first.items():
        short = next(those[0][:size] for size in range(1, 64) if sum(id.startswith(those[0][:size]) for id in ids) == 1)
        said = f"of {ids.index(those[0])}\n"
        assert svc.run("wait", short).stdout == "0\n"
        assert svc.run("logs", short).stdout == svc.run("logs", "-n1", short).stdout == said
        if len(those) > 1:
            done = svc.run("logs", first, ok=False)
            assert (done.returncode, f"`{first}` may be the container " in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-d", "-i"), "has no standard input"),
        (("-d", "--restart=sometimes"), "no restart policy"),
        (("-d", "--restart=on-failure:x"), "no restart policy"),
        (("-d", "--rm", "--restart=always"), "contradict each other"),
        (("-d", "--stop-signal=77"), "no signal"),
        (("-d", "--stop-timeout=soon"), "no number of seconds"),
        (("--name=x",), "for containers in the background"),
    ],
)
def test_what_is_refused(svc: World, options: tuple[str, ...], message: str) -> None:
    done = svc.run("run", *options, "svc", "true", ok=False)
    assert done.returncode == 125
    assert message in done.stderr
    assert svc.run("ps", "-aq").stdout == ""


def test_one_that_cannot_start_says_why(svc: World) -> None:
    done = svc.run("run", "-d", "--name=web", "-u", "nobody-of-this-name", "svc", "true", ok=False)
    assert done.returncode == 125
    assert "nobody-of-this-name" in done.stderr
    assert listed(svc, "web")["status"] == "exited"
    assert listed(svc, "web")["problem"]


@pytest.mark.parametrize(("command", "code"), [("no-such-program", 127), ("/nothing/here", 127), ("/etc", 126)])
def test_one_whose_command_cannot_be_started_does_not_run(svc: World, command: str, code: int) -> None:
    """It is not tried again, whatever its policy is, until somebody starts it."""
    for begin_it in (("run", "-d", "--name=web", "--restart=always", "svc", command), ("start", "web")):
        done = svc.run(*begin_it, ok=False)
        assert (done.returncode, f"error: `{command}` cannot be started: " in done.stderr) == (code, True), done.stderr
        until(lambda: not supervisors(svc))
        assert (listed(svc, "web")["status"], listed(svc, "web")["code"]) == ("exited", code)
    assert f'exec: "{command}"' in svc.run("logs", "web").stderr


def test_a_problem_is_kept_with_its_place(svc: World) -> None:
    place = svc.project / "mounted"
    place.mkdir()
    sh(svc, "web", "exit 0", "-v", f"{place}:/mounted")
    svc.run("wait", "web")
    place.rmdir()
    assert svc.run("start", "web", ok=False).returncode == 6
    assert listed(svc, "web")["problem"] == f"{place}: cannot bind: no such file or directory"


def test_a_start_that_fails_ends_with_the_code_of_what_was_wrong(svc: World) -> None:
    need_way_out(svc.mode)
    port = free_port()
    sh(svc, "web", "exit 0", "--network=isolated", "-p", f"{port}:80")
    svc.run("wait", "web")
    with socket.create_server(("127.0.0.1", port)):
        done = svc.run("start", "web", ok=False)
    assert (done.returncode, "is taken by" in done.stderr) == (2, True)


def test_a_terminal_in_the_background(svc: World) -> None:
    sh(svc, "web", "test -t 0 && test -t 1 && echo terminal", "-t")
    svc.run("wait", "web")
    assert log(svc, "web") == "terminal\n"


@pytest.mark.parametrize("option", ["--restart=always", "--restart=on-failure", "--rm"])
def test_one_that_cannot_start_is_not_tried_again(svc: World, option: str) -> None:
    done = svc.run("run", "-d", "--name=web", option, "-u", "nobody-of-this-name", "svc", "true", ok=False)
    assert done.returncode == 125
    assert "nobody-of-this-name" in done.stderr
    until(lambda: not supervisors(svc))
    assert svc.run("ps", "-a", "--format=name").stdout == ("" if option == "--rm" else "web\n")


def test_the_log_of_one_that_removes_itself_is_followed_to_its_end(svc: World) -> None:
    sh(svc, "once", "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.1; done; echo last", "--rm")
    done = svc.run("logs", "-f", "once", ok=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("line 8\nlast\n")


def test_a_supervisor_keeps_nothing_of_who_started_it(svc: World) -> None:
    with open(svc.project / "held", "w") as held:
        os.set_inheritable(held.fileno(), True)
        command = svc.command("run", "-d", "--name=web", "svc", "sh", "-c", LOOP)
        subprocess.run(
            command, cwd=svc.project, env=svc.environment(), pass_fds=(held.fileno(),), capture_output=True, check=True
        )
    (supervisor,) = supervisors(svc)
    assert os.readlink(f"/proc/{supervisor}/cwd") == "/"
    open_files = [os.readlink(path) for path in Path(f"/proc/{supervisor}/fd").iterdir()]
    assert str(svc.project / "held") not in open_files


def test_one_that_removes_itself_is_removed_by_force(svc: World) -> None:
    sh(svc, "once", LOOP, "--rm")
    assert svc.run("rm", "-f", "once").stdout == "once\n"
    assert svc.run("ps", "-aq").stdout == ""


def test_a_full_disk_ends_no_service(world: World, base_layout: Path) -> None:
    """Its log has no room, and neither has its last state."""
    world.write({"Dockerfile": "FROM busybox\n"})
    script = "yes $(printf %01000d) | head -c 60000000; echo done >&2; exit 3"
    run = ["run", "-d", "--name=web", "svc", "sh", "-c", script]
    build = ["build", "-t", "svc", f"--build-context=busybox=oci-layout://{base_layout}", "."]
    (built, begun, ended), _ = on_a_small_disk(world, "20m", build, run, ["wait", "web"], again=False)
    assert (built.code, begun.code, ended.out) == (0, 0, "3\n"), (built.err, begun.err, ended.err)
