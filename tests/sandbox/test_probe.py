"""What `pybuild info` is told: every finding that is not well has its mending line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.limits import Limits, hierarchies
from buildkit_py.sandbox.oci.runtimes import RUNTIMES
from buildkit_py.sandbox.probe import probe
from tests.sandbox.conftest import start_as

_SHOW = """
import sys
sys.path.insert(0, sys.argv[1])
from buildkit_py.sandbox.probe import probe
for finding in probe():
    print(finding.name, finding.ok, finding.detail, finding.fix, sep="|")
"""


def test_findings_of_this_process() -> None:
    findings = {finding.name: finding for finding in probe()}
    assert [name for name in findings if name not in RUNTIMES] == [
        "kernel",
        "overlay file system",
        "user namespaces",
        "user id range",
        "newuidmap, newgidmap",
        "system call filter",
        "cgroups",
        "isolated network",
        "/dev/net/tun",
        "landlock",
    ]
    for finding in findings.values():
        assert finding.detail
        assert finding.ok == (not finding.fix), finding


@pytest.mark.parametrize(("mode", "ok"), [("range", "True"), ("single", "False")])
def test_id_ranges_of_users(mode: str, ok: str, place: Path, package_copy: Path) -> None:
    command = start_as(mode, place, ["-c", _SHOW, str(package_copy)])
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = {line.split("|")[0]: line.split("|") for line in out.splitlines()}
    assert lines["user id range"][1] == ok
    assert ("echo 54321:" in lines["user id range"][3]) == (mode == "single")


def test_control_groups_are_well_where_limits_can_be_set() -> None:
    found = next(finding for finding in probe() if finding.name == "cgroups")
    if found.ok:
        Limits.make(hierarchies(), memory=1 << 30, cpus=1000, pids=1000).remove()
    else:
        with pytest.raises(SandboxError):
            Limits.make(hierarchies(), memory=1 << 30, cpus=1000, pids=1000)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_control_groups_of_root_are_not_for_everybody(package_copy: Path, place: Path) -> None:
    command = start_as("range", place, ["-c", _SHOW, str(package_copy)])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("cgroups|")]
    assert "|False|" in line
    assert "no group for cpu memory pids" in line
