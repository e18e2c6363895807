"""Processes that are forked from one: each is what it would be by itself, and whoever begins them hears of each."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.api.background import VACANT, begin
from buildkit_py.api.background_forks import Forks
from buildkit_py.errors import SandboxError

MODULE, WHAT = "tests.api.forked", "one of them"


def name_of(number: int, last: str = "0") -> str:
    return f"{number:063x}{last}"


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def is_gone(pid: int) -> bool:
    """Whether a process that is not our child has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def servers(root: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = command_line(int(entry.name))
            except OSError:
                continue
            if str(root) in words and VACANT in words:
                found.append(int(entry.name))
    return found


class Begun:
    """What was heard of the processes, and what those that are ready wrote down."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.ready: list[str] = []
        self.problems: dict[str, SandboxError] = {}

    def __call__(self, name: str, problem: SandboxError | None) -> None:
        if problem is None:
            self.ready.append(name)
        else:
            self.problems[name] = problem

    def facts(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._root / name).read_text())
        return found


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Begun]:
    heard = Begun(tmp_path)
    yield heard
    for path in tmp_path.iterdir():
        try:
            os.kill(heard.facts(path.name)["pid"], signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_a_fork_is_what_it_would_be_by_itself(tmp_path: Path, begun: Begun) -> None:
    names = [name_of(number) for number in range(40)]
    with open("/dev/null") as unrelated, Forks(MODULE, str(tmp_path), WHAT) as forks:
        os.set_inheritable(unrelated.fileno(), True)
        forks.begin(names, begun)
    alone = name_of(99)
    begin(MODULE, str(tmp_path), alone, WHAT)
    assert sorted(begun.ready) == names
    assert begun.problems == {}
    expected = begun.facts(alone)
    line = command_line(expected["pid"])
    assert sorted(expected["files"]) == ["0", "1", "2", "3"]
    for name in names:
        facts = begun.facts(name)
        assert command_line(facts["pid"]) == [name if word == alone else word for word in line]
        assert facts["session"] == facts["pid"]
        assert facts["cwd"] == expected["cwd"] == "/"
        assert sorted(facts["files"]) == ["0", "1", "2", "3"]
        assert facts["files"]["3"].startswith("pipe:")
    assert len({begun.facts(name)["pid"] for name in names}) == len(names)


def test_it_ends_with_what_it_is_for_and_leaves_its_forks(tmp_path: Path, begun: Begun) -> None:
    with Forks(MODULE, str(tmp_path), WHAT) as forks:
        forks.begin([name_of(1)], begun)
        assert len(servers(tmp_path)) == 1
        forks.begin([name_of(2)], begun)  # it may be asked again
    assert servers(tmp_path) == []
    assert not any(is_gone(begun.facts(name_of(number))["pid"]) for number in (1, 2))


def test_those_that_are_not_ready_say_why_and_are_not_in_the_way(tmp_path: Path, begun: Begun) -> None:
    with Forks(MODULE, str(tmp_path), WHAT) as forks:
        forks.begin([name_of(1, "e"), name_of(2, "d"), name_of(3)], begun)
    refused, died = begun.problems[name_of(1, "e")], begun.problems[name_of(2, "d")]
    assert (refused.message, refused.hint) == ("it does not want to", "ask another")
    assert died.message == "one of them ended before it was ready"
    assert begun.ready == [name_of(3)]


def test_a_server_that_is_killed(tmp_path: Path, begun: Begun) -> None:
    with Forks(MODULE, str(tmp_path), WHAT) as forks:
        forks.begin([name_of(1)], begun)
        (server,) = servers(tmp_path)
        os.kill(server, signal.SIGKILL)
        while not is_gone(server):
            time.sleep(0.01)
        forks.begin([name_of(2), name_of(3)], begun)
    assert begun.ready == [name_of(1)]
    assert {problem.message for problem in begun.problems.values()} == {"one of them ended before it was ready"}
    assert not is_gone(begun.facts(name_of(1))["pid"])


def test_whoever_is_interrupted_has_heard_of_all_that_were_asked_for(tmp_path: Path, begun: Begun) -> None:
    def interrupted(name: str, problem: SandboxError | None) -> None:
        begun(name, problem)
        if len(begun.ready) == 3:
            raise KeyboardInterrupt

    with Forks(MODULE, str(tmp_path), WHAT) as forks, pytest.raises(KeyboardInterrupt):
        forks.begin([name_of(number) for number in range(100)], interrupted)
    there = {path.name for path in tmp_path.iterdir()}
    assert set(begun.ready) == there
    assert 3 <= len(there) < 100
