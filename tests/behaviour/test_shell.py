"""`pybuild shell`: a command where a step runs, before or after it, or where one failed; its writes are dropped."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.world import World

DOCKERFILE = """\
FROM busybox AS base
ARG LEVEL=1
ENV MODE=fast
WORKDIR /work
COPY src .
RUN echo first > made
USER app
RUN --mount=type=cache,target=/c,mode=0777 --mount=type=secret,id=key,mode=0444 \\
    echo second $LEVEL; test -e a.txt && touch /c/used
FROM base AS broken
RUN echo almost > /tmp/almost; exit 7
"""


@pytest.fixture
def project(world: World, base_layout: Path) -> World:
    world.write({"Dockerfile": DOCKERFILE, "src/a.txt": "a\n", "key": "s3cret\n"})
    world.env["BASE"] = f"busybox=oci-layout://{base_layout}"
    return world


def shell(world: World, *argv: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    options = ("--build-context", world.env["BASE"], f"--secret=id=key,src={world.project}/key")
    return world.run("shell", *options, *argv, ok=ok)


def test_before_and_after_a_step(project: World) -> None:
    assert shell(project, "base@echo first", "--", "ls").stdout == "a.txt\n"
    assert shell(project, "--after", "base@echo first", "--", "ls").stdout == "a.txt\nmade\n"
    assert shell(project, "base@5", "--", "cat", "a.txt").stdout == "a\n"


def test_it_is_as_the_step_has_it(project: World) -> None:
    script = "id -u; pwd; echo $MODE $LEVEL; cat /run/secrets/key; ls /c; touch /c/mine made-here"
    said = shell(project, "base@second", "--", "sh", "-c", script, ok=False)
    assert said.stdout == "77\n/work\nfast 1\ns3cret\n"
    assert "made-here" in said.stderr  # the user may not write there, nor may the step
    assert shell(project, "base@second", "--", "ls", "/c").stdout == "mine\n"
    shell(project, "--after", "base@second", "--", "true")
    assert shell(project, "base@second", "--", "ls", "/c").stdout == "mine\nused\n"


def test_options_of_the_build_count(project: World) -> None:
    assert shell(project, "--build-arg=LEVEL=3", "base@second", "--", "sh", "-c", "echo $LEVEL").stdout == "3\n"


def test_what_it_writes_is_dropped_and_its_code_kept(project: World) -> None:
    assert shell(project, "base@echo first", "--", "sh", "-c", "echo x > new; exit 9", ok=False).returncode == 9
    assert shell(project, "base@echo first", "--", "ls").stdout == "a.txt\n"


def test_where_the_last_build_failed(project: World) -> None:
    arguments = ("--build-context", project.env["BASE"], f"--secret=id=key,src={project.project}/key")
    assert project.build(*arguments, ok=False).returncode == 1
    said = shell(project, "", "--", "sh", "-c", "ls; ls /tmp")
    assert said.stdout == "a.txt\nmade\n"
    # The step that failed has no files after it.
    assert shell(project, "--after", "", "--", "true", ok=False).returncode == 1


def test_where_a_test_failed(world: World, base_layout: Path) -> None:
    world.write({"Buildfile": f"FROM oci-layout://{base_layout} AS app\nRUN echo x > /x\nTEST test -e /y\n"})
    assert world.run("test", ok=False).returncode == 1
    assert world.run("shell", "", "--", "cat", "/x").stdout == "x\n"


def test_it_trusts_what_the_step_trusts(project: World) -> None:
    project.write({"company.pem": "the company's\n"})
    project.env["PYBUILD_CA_BUNDLE"] = str(project.project / "company.pem")
    assert shell(project, "base@second", "--", "sh", "-c", "cat $PIP_CERT").stdout == "the company's\n"


def test_what_cannot_be_opened(project: World) -> None:
    for asked, message in (
        ("", "no step of the last build failed"),
        ("base@nowhere", "no step is `nowhere`"),
        ("base@99", "no step is `99`"),
        ("base@0", "no step is `0`"),
        ("base@COPY", "is no command"),
        ("base@echo", "is in the text of several steps"),
        ("nowhere@echo first", "nowhere"),
    ):
        done = shell(project, asked, "--", "true", ok=False)
        assert done.returncode in (2, 3)
        assert message in done.stderr
    assert "a shell needs a terminal" in shell(project, "base@echo first", ok=False).stderr


def test_with_a_terminal(project: World) -> None:
    ours, theirs = pty.openpty()
    command = project.command("shell", "--build-context", project.env["BASE"], "base@echo first")
    process = subprocess.Popen(
        command, cwd=project.project, env=project.environment(TERM="xterm"), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    told = False
    try:
        while piece := os.read(ours, 4096):
            seen += piece
            if not told and b"/work #" in seen:  # what is typed before a shell is there is lost
                os.write(ours, b"tty; echo $TERM; exit 5\n")
                told = True
    except OSError:
        pass  # the other side was closed
    os.close(ours)
    assert process.wait(timeout=60) == 5
    assert b"/dev/" in seen
    assert b"\r\nxterm\r\n" in seen
