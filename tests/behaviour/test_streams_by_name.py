"""`/dev/stdout` and its like belong to the command's user, whoever that is: logs of many images are links to them."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.behaviour.containers import LOOP, log, removed_at_the_end, sh, until
from tests.behaviour.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITES = "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin"


@pytest.fixture
def project(world: World, base_layout: Path) -> Iterator[World]:
    world.write({"Dockerfile": f"FROM busybox\nUSER 7:8\nRUN {WRITES}\n"})
    world.env["BUILD"] = f"busybox=oci-layout://{base_layout}"
    with removed_at_the_end(world):
        yield world


def test_in_a_step(project: World) -> None:
    done = project.build("--build-context", project.env["BUILD"])
    assert " out\n" in done.stderr
    assert " err\n" in done.stderr


def test_in_containers(project: World) -> None:
    project.build("--build-context", project.env["BUILD"], "-t", "svc")
    done = project.run("run", "-i", "--rm", "svc", "sh", "-c", WRITES, stdin="in\n")
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("out\nin\n", "err")
    sh(project, "web", f"echo out > /dev/stdout; echo err > /dev/stderr; echo ready; {LOOP}")
    until(lambda: "ready" in log(project, "web"))
    said = project.run("logs", "web")
    assert (said.stdout, said.stderr) == ("out\nready\n", "err\n")
    for user in ("7", "0", "9:9"):
        done = project.run("exec", "-i", "-u", user, "web", "sh", "-c", WRITES, stdin="in\n")
        assert (done.stdout, done.stderr) == ("out\nin\n", "err\n")


def test_a_pipe_of_whoever_runs_it(project: World) -> None:
    project.build("--build-context", project.env["BUILD"], "-t", "svc")
    inside = shlex.join(
        project.command("run", "--rm", "svc", "sh", "-c", "echo out > /dev/stdout")[len(project.prefix) :]
    )
    # Who goes on with the pipe opens it by name as well.
    script = f"{{ {inside} && echo more > /dev/stdout; }} | cat"
    command = [*project.prefix, "sh", "-c", script]
    done = subprocess.run(command, cwd=project.project, env=project.environment(), capture_output=True, check=False)
    assert done.stdout == b"out\nmore\n", done.stderr
