"""`--call=outline` and `--call=targets` against what docker's own BuildKit answers (buildx of its time: `--print`)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.process import pybuild
from tests.cli.test_call import FILE
from tests.peers.daemon import Docker

pytestmark = [
    pytest.mark.peers,
    pytest.mark.privileged,
    pytest.mark.xdist_group("docker"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a docker daemon needs root"),
]

# One that gives a global ARG is not among them: docker then forgets the comment above that ARG.
QUESTIONS = (
    ("outline",),
    ("outline", "--target=web"),
    ("outline", "--target=OTHER", "--build-arg=OTHER=x"),
    ("outline", "--target=base", "--build-arg=INBASE=x", "--build-arg=UNUSED=y"),
    ("targets",),
)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_answers_are_dockers(docker: Docker, tmp_path: Path, question: tuple[str, ...], form: str) -> None:
    (tmp_path / "Dockerfile").write_text(FILE)
    method, *options = question
    docker.env["BUILDX_EXPERIMENTAL"] = "1"
    done = docker.try_("buildx", "build", f"--print={method},format={form}", *options, ".", cwd=tmp_path)
    if done.returncode:
        assert b"unknown flag: --print" in done.stderr, done.stderr.decode()
        done = docker.try_("buildx", "build", f"--call={method},format={form}", *options, ".", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    wanted = done.stdout.decode()
    made = pybuild(tmp_path, "build", f"--call={method},format={form}", *options, ".").stdout
    if form == "json":
        assert json.loads(made) == json.loads(wanted)
    else:
        assert made == wanted
