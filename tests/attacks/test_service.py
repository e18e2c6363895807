"""A hostile service beside a step: it is as shut in as the step, sees nothing of it, and ends with it."""

from __future__ import annotations

import json
import os
import socket

import pytest

from tests.attacks.doors import Door
from tests.needs import need_way_out

pytestmark = pytest.mark.parametrize("door", ["build"], indirect=True)


@pytest.fixture
def beside(door: Door) -> Door:
    """A door to builds whose services have a network, which they need."""
    need_way_out(door.world.mode)
    door.world.env["PYBUILD_NETWORK"] = "isolated"
    return door


def build(door: Door, service: str, step: str) -> tuple[int, list[str], str]:
    """Build a step beside a service that runs a script, and is ready at once: the code, its lines, and all."""
    command = json.dumps(["sh", "-c", service, door.mark])
    seen = door.buildfile(
        f"SERVICE evil FROM made --ready='test -e /up'\nFROM box AS made\nCMD {command}\n"
        f"FROM box\nRUN --with=evil {step}\n"
    )
    return (
        seen.code,
        [line.partition(" evil | ")[2] for line in seen.said.splitlines() if " evil | " in line],
        seen.said,
    )


@pytest.mark.attack("S11", "S13")
def test_it_gets_at_nothing_of_the_machine(beside: Door) -> None:
    name = f"pybuild-service-{os.getpid()}"
    abstract, service = socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0))
    abstract.bind(f"\0{name}")
    abstract.listen()
    port = service.getsockname()[1]
    script = (
        f"exec 2>&1; touch /up; inside abstract {name}; inside descriptors; inside up {beside.canary.file}; "
        f"inside process {os.getpid()}; {beside.canary.get_at_it()}; "
        f"nc -w 1 127.0.0.1 {port} </dev/null && echo HEARD; (echo x > /proc/sys/kernel/core_pattern) && echo WROTE; "
        "mknod /d b 7 0 && head -c 1 /d && echo READ; ls /step && echo SEEN; ps; echo tried; sleep 1000"
    )
    with abstract, service:
        code, lines, said = build(beside, script, "touch /step; sleep 2; ps; ls /up && echo SEEN; :")
        for listener in (abstract, service):
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
    assert code == 0, said
    assert "tried" in lines, said
    for word in ("HEARD", "WROTE", "READ", "SEEN", "GOT", "DONE"):
        assert not any(word in line.split() for line in lines), lines
    assert " SEEN\n" not in said
    assert beside.canary.text not in said
    assert beside.running() == []


@pytest.mark.attack("S15", "S16")
def test_it_ends_with_the_step_whatever_it_does(beside: Door) -> None:
    """It ignores every signal, leaves daemons and what stands still."""
    stubborn = "trap '' HUP INT TERM QUIT USR1 USR2; (setsid sleep 5000 &); sleep 5000 & kill -STOP $!; touch /up; "
    code, _, said = build(beside, f"{stubborn} while :; do sleep 1000; done", "echo it ran")
    assert code == 0, said
    assert beside.running() == []


@pytest.mark.attack("H6", "H7")
def test_what_it_writes_is_not_taken_for_ours(beside: Door) -> None:
    lies = "#1 DONE 0.1s\\nbuilt in 1s\\n\\033]0;title\\007\\033[2J\\rerror: all is lost\\n"
    script = f"touch /up; printf '{lies}'; sleep 1000"
    code, lines, said = build(beside, script, "sleep 1; echo it ran")
    assert code == 0, said
    assert "#1 DONE 0.1s" in lines
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "\rerror" not in said
    assert not any(line.startswith("built in 1s") for line in said.splitlines())
