"""The umask of who builds decides nothing about what is in a filesystem."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.behaviour.world import World

DOCKERFILE = """\
FROM busybox AS other
COPY file /d/file
FROM busybox
USER 1000
RUN --mount=from=other,target=/other cat /other/d/file
WORKDIR /tmp/w
COPY file /tmp/w/
RUN ls -ld / /tmp/w > /tmp/seen && cat file
"""


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_a_step_of_another_user(world: World, base_layout: Path, umask: int) -> None:
    world.write({"Dockerfile": DOCKERFILE, "file": "text\n"})
    done = subprocess.run(
        world.command(
            *("build", "--progress=plain", "--build-context", f"busybox=oci-layout://{base_layout}", "-o", "-", ".")
        ),
        cwd=world.project,
        env=world.environment(),
        capture_output=True,
        umask=umask,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"drwxr-xr-x " in done.stdout
