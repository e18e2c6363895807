"""Runtimes: found, asked for their version, and refused where it is not safe."""

from __future__ import annotations

import json
import os

import pytest

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.oci.outcome import outcome
from buildkit_py.sandbox.oci.runtimes import find_runtime, installed
from buildkit_py.sandbox.spec import Exit


def program(tmp_path, says: str, code: int = 0) -> str:
    """A program that answers `--version`."""
    path = tmp_path / "runtime"
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("says", "kind", "advised"),
    [
        ("runc version 1.1.12", "runc", True),
        ("runc version 1.1.15+ds1", "runc", True),
        ("runc version 1.2.7", "runc", True),
        ("runc version 1.2.8", "runc", False),
        ("runc version 1.3.2", "runc", True),
        ("runc version 1.3.3", "runc", False),
        ("runc version 1.4.0-rc.3", "runc", False),
        ("crun version 1.15", "crun", False),
        ("crun version 1.28.1", "crun", False),
    ],
)
def test_versions_that_are_taken(tmp_path, says, kind, advised):
    found = find_runtime(program(tmp_path, says))
    assert (found.kind, found.version, bool(found.advice)) == (kind, says.split()[2], advised)


@pytest.mark.parametrize(
    ("says", "hint"),
    [
        ("runc version 1.1.11", "runc 1.1.12 or newer"),
        ("runc version 1.0.3", "runc 1.1.12 or newer"),
        ("crun version 1.14.4", "crun 1.15 or newer"),
        ("crun version 0.20", "crun 1.15 or newer"),
    ],
)
def test_versions_that_are_not_safe(tmp_path, says, hint):
    with pytest.raises(SandboxError, match="is not safe") as caught:
        find_runtime(program(tmp_path, says))
    assert hint in caught.value.hint


def test_programs_that_are_no_runtime(tmp_path):
    for says, code in (("youki version 0.5", 0), ("", 0), ("crun version 1.21", 1), ("crun is here", 0)):
        with pytest.raises(SandboxError, match="neither crun nor runc"):
            find_runtime(program(tmp_path, says, code))
    with pytest.raises(SandboxError, match="`kata` is no runtime"):
        find_runtime("kata")
    with pytest.raises(SandboxError, match="is not there"):
        find_runtime(f"{tmp_path}/none")
    with pytest.raises(SandboxError, match="is not absolute"):
        find_runtime("bin/crun")
    (tmp_path / "data").write_text("")
    with pytest.raises(SandboxError, match="not a program"):
        find_runtime(f"{tmp_path}/data")


def test_what_is_not_installed(monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: not str(path).endswith("/crun") and real(path, mode))
    with pytest.raises(SandboxError, match="`crun` is not installed here") as caught:
        find_runtime("crun")
    assert "apt-get install crun" in caught.value.hint
    assert "crun" not in dict(installed())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('unable to start container process: exec: "nothing": executable file not found in $PATH', 127),
        ('unable to start container process: exec: "/x": stat /x: no such file or directory', 127),
        ('unable to start container process: exec: "/etc": is a directory', 126),
        ("executable file `nothing` not found in $PATH: No such file or directory", 127),
        ("the path `/etc` is not a regular file: Operation not permitted", 126),
        ("the path `/x` exists but it is not executable: Operation not permitted", 126),
    ],
)
def test_a_command_that_could_not_be_started(tmp_path, said, code):
    error = json.dumps({"level": "error", "msg": said})
    (tmp_path / "log").write_text(f'{{"level":"warning","msg":"odd"}}\nno JSON\n{error}\n')
    assert outcome(Exit(1, 0.5), ("runc", "/runc", str(tmp_path))) == Exit(code, 0.5)


def test_a_runtime_that_failed_and_a_command_that_did(tmp_path):
    runtime = ("crun", "/crun", str(tmp_path))
    assert outcome(Exit(1), runtime) == Exit(1)
    (tmp_path / "log").write_text('{"level":"warning","msg":"unable to get oom kill count"}\n')
    assert outcome(Exit(1), runtime) == Exit(1)
    (tmp_path / "log").write_text('{"level":"error","msg":"cgroups: no space"}\n')
    assert outcome(Exit(0), runtime) == Exit(0)
    with pytest.raises(SandboxError, match="crun could not run the container") as caught:
        outcome(Exit(1), runtime)
    assert caught.value.notes == ("cgroups: no space",)
