"""The logs of a project: who takes the place of another container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.api.project import Member
from buildkit_py.cli.project_logs import ProjectLogs
from buildkit_py.runner.container_log import LogWriter
from buildkit_py.store.containers import About, State


def member(id: str, service: str) -> Member:
    return Member(About(id, service, "svc", (), (), 0.0, {}), State(), service)


def test_one_that_was_replaced_is_let_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = ProjectLogs(["web", "db"])
    writers = {}
    for name in ("web-1", "web-2", "web-3", "db-1"):
        (tmp_path / name).mkdir()
        writers[name] = LogWriter(str(tmp_path / name))
    before = len(os.listdir("/proc/self/fd"))
    logs.add(member("db-1", "db"), str(tmp_path / "db-1"))
    for number in (1, 2, 3):
        name = f"web-{number}"
        logs.add(member(name, "web"), str(tmp_path / name))
        logs.show()
        writers[name].write(1, f"last words of {name}\n".encode())
    logs.show()
    assert len(os.listdir("/proc/self/fd")) - before == 2
    logs.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert capsys.readouterr().out.splitlines() == [f"web | last words of web-{number}" for number in (1, 2, 3)]
