"""Many services at once: one process forks all their supervisors, each of which is as if it had been started alone."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.containers import supervisors, until
from tests.behaviour.projects import SERVE, compose, rows, service, states
from tests.behaviour.world import World
from tests.needs import need_way_out

NUMBER = 12
NAMES = [f"s{number}" for number in range(NUMBER)]
IDLE = "exec sleep 1000000"


@pytest.fixture
def many(svc: World) -> World:
    need_way_out(svc.mode)
    svc.env["PYBUILD_NETWORK"] = ""
    compose(svc, **{name: service(IDLE, "stop_signal: SIGKILL") for name in NAMES})
    return svc


def named(world: World) -> dict[str, int]:
    """The supervisors, by the ids in their command lines; what has no id in it is not among them."""
    found = {}
    for pid in supervisors(world):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if str(world.store) in words:  # none are left of one that has just ended
            found[words[words.index(str(world.store)) + 1]] = pid
    return found


def test_each_has_a_supervisor_of_its_own(many: World) -> None:
    many.run("up", "-d")
    by_id = named(many)
    assert set(by_id) == {one["id"] for one in rows(many).values()}, "and who forked them has ended"
    assert len(by_id) == NUMBER
    for pid in by_id.values():
        assert os.getsid(pid) == pid
        holders = [link for link in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()) if link.endswith("/lock")]
        assert len(holders) == 1, "no lock of another one"
    assert list((many.store / "work").iterdir()) == [], "nothing that each command would look after"
    killed, *_ = [one["id"] for name, one in rows(many).items() if name == "s3"]
    os.kill(by_id[killed], signal.SIGKILL)
    until(lambda: rows(many)["s3"]["status"] == "exited")
    assert rows(many)["s3"]["problem"] == "its supervisor was killed"
    assert sorted(name for name, state in states(many).items() if state == "running") == sorted(set(NAMES) - {"s3"})
    assert many.run("up", "-d").stderr.count("runs as it is to be") == NUMBER - 1
    assert set(states(many).values()) == {"running"}
    assert many.run("restart").stderr.count(": restarted") == NUMBER
    again = named(many)
    assert set(again) == {one["id"] for one in rows(many).values()}
    assert set(again.values()).isdisjoint(by_id.values())
    many.run("down")
    until(lambda: not supervisors(many))


def test_an_up_that_is_killed_half_way(many: World) -> None:
    process = subprocess.Popen(many.command("up", "-d"), cwd=many.project, env=many.environment())
    try:
        until(lambda: len(named(many)) > 2)
    finally:
        process.kill()
        process.wait()
    # What it had asked for is begun or not, and who forks them ends in any case.
    until(lambda: set(named(many)) <= {one["id"] for one in rows(many).values() if one["status"] == "running"})
    many.run("up", "-d")
    assert set(states(many).values()) == {"running"}
    assert len(named(many)) == NUMBER
    many.run("down")
    until(lambda: not supervisors(many))


def test_one_of_many_that_cannot_be_started(many: World) -> None:
    text = {name: service(IDLE, "stop_signal: SIGKILL") for name in NAMES}
    text["s5"] = service(IDLE, "stop_signal: SIGKILL", "user: nobody-knows")
    compose(many, **text)
    done = many.run("up", "-d", ok=False)
    assert done.returncode != 0
    assert "nobody-knows" in done.stderr
    assert "compose.yaml:8:" in done.stderr
    assert done.stderr.count(": started") == NUMBER - 1
    found = states(many)
    assert found.pop("s5") == "exited"
    assert set(found.values()) == {"running"}
    many.run("down")


def test_many_in_the_foreground(many: World) -> None:
    compose(many, **{name: service(SERVE) for name in NAMES})
    process = subprocess.Popen(
        many.command("up"), cwd=many.project, env=many.environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        said = [process.stdout.readline() for _ in NAMES]
        assert sorted(line.split(" ")[0] for line in said) == sorted(NAMES)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) < NUMBER, "they are no children of it, that would wait for it when they end"
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert rest.count("bye") == NUMBER
    assert process.returncode == 130
    until(lambda: not supervisors(many))
