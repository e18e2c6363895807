"""What `pybuild info` is told: every finding that is not well has its mending line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

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
