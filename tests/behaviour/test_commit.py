"""`pybuild commit`: what becomes a layer, what the image says, and that the container stands still meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.containers import LOOP, log, sh, until
from tests.behaviour.world import World

WRITES = (
    "mkdir -p /d/sub; echo new > /d/sub/new; ln /d/sub/new /d/hard; ln -s new /d/sub/link; echo changed > /file; "
    "rm -r /home; mkdir /home; echo o > /home/only; rm /etc/group; chmod 4755 /d/hard; chown 7:8 /d/sub; "
    "mkfifo /d/pipe; echo ready;"
)
CHECKS = (
    "cat /d/sub/link /d/hard /file /home/only; ls /home; test ! -e /etc/group && echo gone; "
    "stat -c '%a %u:%g' /d/hard /d/sub; test /d/hard -ef /d/sub/new && echo same; test -p /d/pipe && echo pipe"
)
SEEN = "new\nnew\nchanged\no\nonly\ngone\n4755 0:0\n755 7:8\nsame\npipe\n"


def image(world: World, name: str) -> dict[str, Any]:
    (found,) = json.loads(world.run("inspect", name).stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_what_it_wrote(svc: World, state: str) -> None:
    sh(svc, "web", f"{WRITES} {LOOP if state == 'running' else ''}", "-v", "data:/data", "--tmpfs=/mem")
    until(lambda: "ready" in log(svc, "web"))
    if state == "stopped":
        svc.run("wait", "web")
    else:
        svc.run("exec", "web", "sh", "-c", "echo v > /data/v; echo m > /mem/m")
    digest = svc.run("commit", "-m", "why", "-a", "who", "web", "mine:1").stdout.strip()
    assert svc.run("run", "--rm", "mine:1", "sh", "-c", CHECKS).stdout == SEEN
    assert svc.run("run", "--rm", digest, "cat", "/file").stdout == "changed\n"
    assert svc.run("run", "--rm", "svc", "cat", "/file").stdout == "of-the-image\n"
    assert svc.run("run", "--rm", "mine:1", "ls", "-A", "/data", "/mem", ok=False).stdout.split() in (
        ["/data:", "/mem:"],  # docker leaves them there, too, where a mount had made them
        [],
    )
    made, base = image(svc, "mine:1"), image(svc, "svc")
    assert made["Digest"] == digest
    assert made["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert made["Config"] == base["Config"]
    assert made["Author"] == "who"
    newest, *older = json.loads(svc.run("history", "--json", "mine:1").stdout)
    assert older == json.loads(svc.run("history", "--json", "svc").stdout)
    assert (newest["comment"], newest["empty_layer"]) == ("why", False)
    assert newest["created_by"].startswith("sh -c ")
    if state == "running":  # and goes on
        assert svc.run("exec", "web", "cat", "/data/v").stdout == "v\n"
        svc.run("exec", "web", "sh", "-c", "echo later > /file")
    else:
        svc.run("start", "web")
        svc.run("wait", "web")
    assert svc.run("commit", "web").stdout.strip() != digest
    svc.run("cache", "verify")


def test_nothing_written(svc: World) -> None:
    sh(svc, "web", LOOP)
    svc.run("commit", "-c", "CMD true", "web", "same")
    made, base = image(svc, "same"), image(svc, "svc")
    assert made["RootFS"] == base["RootFS"]
    assert json.loads(svc.run("history", "--json", "same").stdout)[0]["empty_layer"] is True
    svc.run("run", "--rm", "same")


def test_changes(svc: World) -> None:
    svc.write(
        {
            "Dockerfile": 'FROM busybox\nENV A=1\nLABEL l=1\nEXPOSE 80\nCMD ["old"]\nONBUILD RUN exit 9\n',
        }
    )
    svc.run("build", "-t", "svc", f"--build-context=busybox=oci-layout://{svc.top.parent}/busybox", ".")
    sh(svc, "web", f"echo x > /x; {LOOP}", "-e", "OF_THE_RUN=1")
    changes = [
        'CMD ["new", "words"]',
        'ENTRYPOINT ["/bin/echo", "-n"]',
        "ENV B=$A-2 C='with blank'",
        "EXPOSE 53/udp",
        'LABEL m="two words"',
        "ONBUILD RUN true",
        "USER app",
        "VOLUME /data",
        "WORKDIR /w",
        "WORKDIR sub",
        "STOPSIGNAL SIGUSR1",
        "HEALTHCHECK CMD true",
    ]
    svc.run("commit", *[word for change in changes for word in ("-c", change)], "web", "mine")
    config = image(svc, "mine")["Config"]
    assert config["Cmd"] == ["new", "words"]
    assert config["Entrypoint"] == ["/bin/echo", "-n"]
    assert [text for text in config["Env"] if not text.startswith("PATH=")] == ["A=1", "B=1-2", "C=with blank"]
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert config["Labels"] == {"l": "1", "m": "two words"}
    assert config["OnBuild"] == ["RUN true"]
    assert (config["User"], config["WorkingDir"], set(config["Volumes"])) == ("app", "/w/sub", {"/data"})
    assert (config["StopSignal"], config["Healthcheck"]["Test"]) == ("SIGUSR1", ["CMD-SHELL", "true"])
    assert svc.run("run", "--rm", "mine").stdout == "new words"
    for change, place in (
        ("RUN true", "1:1"),
        ("COPY a b", "1:1"),
        ("CMD x\nFROM busybox", "2:1"),
        ("NOPE", "1:1"),
        ("ENV B=${", "1:5"),
    ):
        wrong = svc.run("commit", "-c", change, "web", "mine", ok=False)
        assert (wrong.returncode, f"--change:{place}: " in wrong.stderr) == (3, True), wrong.stderr
    wrong = svc.run("commit", "-c", "CMD x", "-c", "NOPE", "web", "mine", ok=False)
    assert (wrong.returncode, "--change:2:1: " in wrong.stderr) == (3, True), wrong.stderr


def test_a_target_of_a_buildfile(svc: World, base_layout: Path) -> None:
    svc.write({"Buildfile": f"FROM oci-layout://{base_layout} AS app\nRUN echo built > /built\nLABEL l=1\n"})
    svc.run("run", "-d", "--name=web", "./Buildfile:app", "sh", "-c", f"echo w > /written; echo ready; {LOOP}")
    until(lambda: "ready" in log(svc, "web"))
    svc.run("commit", "web", "mine")
    assert svc.run("run", "--rm", "mine", "cat", "/built", "/written").stdout == "built\nw\n"
    assert image(svc, "mine")["Config"]["Labels"] == {"l": "1"}
    texts = [entry["created_by"] for entry in json.loads(svc.run("history", "--json", "mine").stdout)]
    assert any("echo built" in text for text in texts)


def test_what_cannot_be(svc: World) -> None:
    sh(svc, "web", LOOP)
    for argv, code in (
        (("nobody", "x"), 2),
        (("web", "Not/A Name"), 2),
        (("web", f"x@sha256:{'0' * 64}"), 2),
        (("web", "a", "b"), 2),
    ):
        done = svc.run("commit", *argv, ok=False)
        assert (done.returncode, "error: " in done.stderr) == (code, True), done.stderr


def test_it_stands_still_meanwhile(svc: World) -> None:
    """Two files that are always written one after the other: in a layer they are at most one apart."""
    script = "i=0; while :; do i=$((i+1)); echo $i > /a; echo $i > /b; done"
    sh(
        svc,
        "web",
        f"({script}) & ({script.replace('/a', '/c').replace('/b', '/d')}) & sleep 1000 & kill -STOP $!; {LOOP}",
    )
    until(lambda: svc.run("exec", "web", "sh", "-c", "cat /a /b /c /d", ok=False).returncode == 0)
    for number in range(3):
        svc.run("commit", "web", f"mine:{number}")
        read = "for n in a b c d; do echo $n $(cat /$n); done"
        lines = svc.run("run", "--rm", f"mine:{number}", "sh", "-c", read).stdout.splitlines()
        shown = [line.split()[1:] for line in lines]
        assert len(shown) == 4
        for first, second in (shown[:2], shown[2:]):
            # One is empty where it was just being written.
            assert not (first and second) or int(first[0]) - int(second[0]) in (0, 1)
    before = svc.run("exec", "web", "cat", "/a").stdout
    until(lambda: svc.run("exec", "web", "cat", "/a").stdout not in (before, "\n", ""))  # it goes on
    states = svc.run("exec", "web", "sh", "-c", "grep -hs State: /proc/[0-9]*/status; :").stdout
    assert states.count("T (stopped)") == 1  # what it had stopped itself


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_commit_that_is_ended_lets_it_go_on(svc: World, number: int) -> None:
    marker = f"of=/big-{svc.mode}-{number}"
    sh(svc, "web", f"dd if=/dev/urandom {marker} bs=1M count=300 2>/dev/null; echo ready; {LOOP}")
    until(lambda: "ready" in log(svc, "web"))
    process = subprocess.Popen(svc.command("commit", "web", "mine"), cwd=svc.project, env=svc.environment())
    until(lambda: _stopped(marker) or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(60) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    until(lambda: not _stopped(marker))
    assert svc.run("exec", "web", "echo", "on").stdout == "on\n"
    assert svc.run("inspect", "mine", ok=False).returncode == 4


def _stopped(marker: str) -> bool:
    """Whether a process of the container's is stopped: its command line is nobody else's."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (place / "cmdline").read_bytes() and "\nState:\tT" in (place / "status").read_text():
                return True
        except OSError:
            continue
    return False


def test_a_container_that_swaps_directories_for_links(svc: World) -> None:
    """What it wrote is read by a process that may read all of this machine: none of that gets into the layer."""
    canary = svc.top / "canary"
    canary.mkdir()
    canary.chmod(0o755)
    (canary / "secret").write_text("of this machine")
    (canary / "directory").mkdir()
    swap = f"rm -rf /x/d; ln -s {canary} /x/d; rm /x/d; mkdir /x/d; echo mine > /x/d/own"
    sh(svc, "web", f"mkdir /x; echo ready; while :; do {swap}; done")
    until(lambda: "ready" in log(svc, "web"))
    for number in range(5):
        svc.run("commit", "web", f"mine:{number}")
        found = svc.run("run", "--rm", f"mine:{number}", "sh", "-c", "find /x; cat /x/d/* 2>/dev/null; true").stdout
        assert "of this machine" not in found
        assert "directory" not in found
    assert os.listdir(canary / "directory") == []
