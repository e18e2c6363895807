"""`pybuild fmt`: writing, checking, showing a diff."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.process import pybuild

ODD = "from scratch  as base\ncopy  a   b\n"
EVEN = "FROM scratch AS base\nCOPY a b\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(ODD)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "Dockerfile").write_text(EVEN)
    return tmp_path


def test_writing(project: Path) -> None:
    file = project / "Dockerfile"
    file.chmod(0o640)
    (project / "link").symlink_to("Dockerfile")
    done = pybuild(project, "fmt", "link", "web")
    assert (done.returncode, done.stdout, done.stderr) == (0, "link: rewritten\n1 canonical already\n", "")
    assert (file.read_text(), os.stat(file).st_mode & 0o777) == (EVEN, 0o640)
    assert (project / "link").is_symlink()
    before = os.stat(file)
    done = pybuild(project, "fmt")
    assert (done.returncode, done.stdout) == (0, "Dockerfile: canonical already\n")
    assert os.stat(file) == before
    assert sorted(os.listdir(project)) == ["Dockerfile", "link", "web"]


def test_checking(project: Path) -> None:
    done = pybuild(project, "fmt", "--check", "Dockerfile", "web/Dockerfile")
    assert (done.returncode, done.stdout, done.stderr) == (1, "Dockerfile\n", "")
    assert (project / "Dockerfile").read_text() == ODD
    done = pybuild(project, "fmt", "--check", "web")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_diff(project: Path) -> None:
    done = pybuild(project, "fmt", "--diff", "Dockerfile", "web")
    wanted = (
        "--- a/Dockerfile\n+++ b/Dockerfile\n@@ -1,3 +1,3 @@\n"
        "-from scratch  as base\n-copy  a   b\n+FROM scratch AS base\n+COPY a b\n \n"
    )
    assert (done.returncode, done.stdout) == (0, wanted)
    assert pybuild(project, "fmt", "--diff", "--check").returncode == 1
    assert pybuild(project, "fmt", "--diff", "--check", "web").returncode == 0
    assert (project / "Dockerfile").read_text() == ODD


def test_standard_input(project: Path) -> None:
    done = pybuild(project, "fmt", "-", stdin=ODD)
    assert (done.returncode, done.stdout, done.stderr) == (0, EVEN, "")
    assert (pybuild(project, "fmt", "--check", "-", stdin=ODD).stdout) == "<stdin>\n"
    done = pybuild(project, "fmt", "-", "Dockerfile", stdin=ODD)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: standard input is formatted by itself")


def test_a_file_that_is_wrong_leaves_all_of_them(project: Path) -> None:
    (project / "web" / "Dockerfile").write_text("FROM a\nRNU x\n")
    done = pybuild(project, "fmt", "Dockerfile", "web")
    assert done.returncode == 3
    assert done.stderr.startswith("error: web/Dockerfile:2:1: unknown instruction `RNU`\n")
    assert (project / "Dockerfile").read_text() == ODD


def test_what_is_no_buildfile(project: Path) -> None:
    (project / "Buildfile.py").write_text("")
    done = pybuild(project, "fmt")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: `Buildfile.py` is Python")
    assert pybuild(project, "fmt", "nothing").returncode == 4
    assert pybuild(project, "fmt", "https://e.org/x.git").returncode == 2


def test_bytes_that_are_no_text_stay(project: Path) -> None:
    (project / "Dockerfile").write_bytes(b"from a\nRUN \xff\n")
    pybuild(project, "fmt")
    assert (project / "Dockerfile").read_bytes() == b"FROM a\nRUN \xff\n"
