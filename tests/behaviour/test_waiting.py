"""A build whose step another build is running says so, waits for it, and can be interrupted meanwhile."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.world import World


def _start(world: World, base_layout: Path, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        world.command(
            *("build", "--progress=plain", "--build-context", f"busybox=oci-layout://{base_layout}", *argv, ".")
        ),
        cwd=world.project,
        env=world.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )


def _until(build: subprocess.Popen[str], text: str) -> str:
    assert build.stderr is not None
    for line in build.stderr:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was not said")


@pytest.fixture
def running(world: World, base_layout: Path) -> Iterator[tuple[World, subprocess.Popen[str]]]:
    """A build in the middle of a step that takes its time."""
    world.write({"Dockerfile": "FROM busybox\nRUN echo began; sleep 6\n"})
    first = _start(world, base_layout)
    try:
        _until(first, "began")
        yield world, first
    finally:
        first.kill()
        first.communicate()


def test_it_says_so_and_takes_the_result(running: tuple[World, subprocess.Popen[str]], base_layout: Path) -> None:
    world, first = running
    second = _start(world, base_layout, "-t", "second")
    line = _until(second, "being run by another build")
    rest = second.communicate()[1]
    assert first.wait() == 0
    assert second.returncode == 0
    assert "waiting" in line
    assert "0 ran, 1 cached" in rest


def test_ctrl_c_ends_the_one_that_waits(running: tuple[World, subprocess.Popen[str]], base_layout: Path) -> None:
    world, first = running
    second = _start(world, base_layout, "-t", "second")
    _until(second, "being run by another build")
    second.send_signal(signal.SIGINT)
    began = time.monotonic()
    second.communicate()
    assert second.returncode == 130
    assert first.poll() is None, f"it waited for the other build, {time.monotonic() - began:.1f} s"
    assert first.wait() == 0
