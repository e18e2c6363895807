"""A build is killed at moments spread over its whole length, and before each line of the code that files its results.

After each kill the store is whole, nothing is left running or mounted, and
the next build, with no command in between, gives what an undisturbed one
gives. `killing.py` does it; here it is told how often.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.behaviour.world import World

DOCKERFILE = """\
FROM busybox AS build
RUN echo one > /one
WORKDIR /src
COPY src .
RUN cat a.txt /one > /made
FROM busybox
COPY --from=build /made /made
RUN test -s /made && mkdir -p /deep/er && cp /made /deep/er && rm /etc/group
"""
MOMENTS = 200
CHUNKS = 4


def killed(world: World, base_layout: Path, *mode: str) -> tuple[int, list[str]]:
    """Run `killing.py` in the world: how many builds it killed, and what was wrong after."""
    world.write({"Dockerfile": DOCKERFILE, "src/a.txt": "a\n" * 50, "src/sub/b.txt": "b\n"})
    argv = ["build", "--progress=plain", "--build-context", f"busybox=oci-layout://{base_layout}"]
    argv += ["-t", "killed:1", "-o", "type=oci,dest=x.tar", "--iidfile", "iid", "."]
    command = world.command()
    command[command.index("buildkit_py")] = "tests.behaviour.killing"
    done = subprocess.run(
        [*command, *mode, "--", *argv],
        cwd=world.project,
        env=world.environment(SOURCE_DATE_EPOCH="0"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills, broken = json.loads(done.stdout)
    return kills, broken


def part(world: World, chunk: int) -> tuple[int, int]:
    """Which of all kills are a test's: (the first, the distance of the next). Root and user share them."""
    if os.geteuid() != 0:
        return chunk, CHUNKS
    return 2 * chunk + (world.mode == "user"), 2 * CHUNKS


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.attack("K8", "K10")
def test_killed_at_any_moment(world: World, base_layout: Path, chunk: int) -> None:
    first, step = part(world, chunk)
    kills, broken = killed(world, base_layout, "moments", str(first), str(step), str(MOMENTS))
    assert broken == []
    assert kills == len(range(first, MOMENTS, step))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_killed_before_every_line_that_files_results(world: World, base_layout: Path, chunk: int) -> None:
    first, step = part(world, chunk)
    kills, broken = killed(world, base_layout, "lines", str(first), str(step))
    assert broken == []
    assert kills > 100 // step
