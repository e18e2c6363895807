"""`pybuild shell`: a command where a step runs, before it, after it or as it left things; its writes are dropped."""

from __future__ import annotations

import json
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
USER root
RUN echo almost > /tmp/almost; rm made; exit 7
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
    script = "ls; ls /tmp; touch /tmp/more"
    said = shell(project, "", "--", "sh", "-c", script)
    assert said.stdout == "a.txt\nalmost\n"
    assert said.stderr.endswith("failed, and these are the files as it left them\n")
    assert shell(project, "broken@almost", "--", "sh", "-c", script).stdout == "a.txt\nalmost\n"
    said = shell(project, "--before", "", "--", "sh", "-c", script)
    assert said.stdout == "a.txt\nmade\n"
    assert said.stderr == ""
    # The step that failed has no files after it.
    assert shell(project, "--after", "", "--", "true", ok=False).returncode == 1
    assert "two different states" in shell(project, "--before", "--after", "", ok=False).stderr


def test_what_a_failed_step_left_is_that_of_the_same_files_only(project: World) -> None:
    arguments = ("--build-context", project.env["BASE"], f"--secret=id=key,src={project.project}/key")
    assert project.build(*arguments, ok=False).returncode == 1
    project.write({"src/a.txt": "changed\n"})
    said = shell(project, "--", "sh", "-c", "cat a.txt; ls; ls /tmp")
    assert said.stdout == "changed\na.txt\nmade\n"
    assert "is not kept any more, and these are the files before it" in said.stderr
    project.write({"src/a.txt": "a\n"})
    assert shell(project, "", "--", "ls", "/tmp").stdout == "almost\n"
    assert shell(project, "--", "ls", "/tmp").stdout == "almost\n"


def test_what_failed_steps_left_is_no_result_and_goes_with_prune(project: World) -> None:
    arguments = ("--build-context", project.env["BASE"], f"--secret=id=key,src={project.project}/key")
    assert project.build(*arguments, ok=False).returncode == 1
    assert project.build(*arguments, ok=False).returncode == 1
    assert json.loads(project.run("cache", "du", "--json").stdout)["failed"]["count"] == 1
    assert json.loads(project.run("cache", "prune", "--json").stdout)["failed"]["count"] == 1
    said = shell(project, "", "--", "ls", "/tmp")
    assert said.stdout == ""
    assert "is not kept any more" in said.stderr


def test_nothing_is_kept_where_that_is_not_wanted(project: World) -> None:
    arguments = ("--build-context", project.env["BASE"], f"--secret=id=key,src={project.project}/key")
    assert project.build("--on-error=fail", *arguments, ok=False).returncode == 1
    assert json.loads(project.run("cache", "du", "--json").stdout)["failed"]["count"] == 0
    assert project.build("--on-error=nothing", *arguments, ok=False).returncode == 2


def test_what_the_last_attempt_left_is_kept(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Buildfile": f"FROM oci-layout://{base_layout} AS app\n"
            "RUN --retry=1 --mount=type=cache,target=/c echo x >> /c/x; cp /c/x /x; exit 3\n"
        }
    )
    assert world.build("-f", "Buildfile", ok=False).returncode == 1
    assert world.run("shell", "app@exit", "--", "cat", "/x").stdout == "x\nx\n"


def test_what_a_step_with_inputs_left(world: World, base_layout: Path) -> None:
    world.write(
        {
            "Buildfile": f"FROM oci-layout://{base_layout} AS app\nWORKDIR /w\nCOPY . .\n"
            "RUN --inputs=a.txt ls > seen; exit 3\n",
            "a.txt": "a\n",
            "b.txt": "b\n",
        }
    )
    assert world.build("-f", "Buildfile", ok=False).returncode == 1
    assert world.run("shell", "app@exit", "--", "cat", "seen").stdout == "a.txt\nseen\n"


def test_where_a_test_failed(world: World, base_layout: Path) -> None:
    world.write({"Buildfile": f"FROM oci-layout://{base_layout} AS app\nRUN echo x > /x\nTEST test -e /y\n"})
    assert world.run("test", ok=False).returncode == 1
    assert world.run("shell", "", "--", "cat", "/x").stdout == "x\n"


def test_what_a_test_left(world: World, base_layout: Path) -> None:
    world.write({"Buildfile": f"FROM oci-layout://{base_layout} AS app\nTEST echo x > /x; exit 1\n"})
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
