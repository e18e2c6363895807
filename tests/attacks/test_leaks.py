"""After many builds and runs, of which three in ten are killed at random moments, nothing of them is left.

30 of each in the usual run of the tests, as root and as an ordinary user; PYBUILD_LEAKS=1000 is the number that counts,
with `--timeout=7200 -o faulthandler_timeout=0`. `leaking.py` does it, on a machine of its own: network, processes, and
empty directories.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.world import REPOSITORY, World
from tests.needs import need
from tests.sandbox.network.conftest import on_a_machine

COUNT = int(os.environ.get("PYBUILD_LEAKS", "30"))
DOCKERFILE = """\
FROM busybox AS build
RUN echo one > /one; sleep 300 & (setsid sleep 300 &) ; head -c 300000 /dev/zero > /zeros
COPY src /src
RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t {limits} cat /src/a /one > /made; date > /c/when; : > /t/x
FROM busybox
COPY --from=build /made /zeros /
RUN mkdir -p /deep/er && cp /made /deep/er
"""


def leaking(world: World, shared: Path, base_layout: Path, *, leave: bool = False) -> dict[str, Any]:
    """Run `leaking.py` in the world: what it found. Skips the test where no machine can be made."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a machine")
    need("ip", "nft", "mount", "unshare", "pasta")
    limits = "--memory=64m" if world.mode == "root" else ""
    world.write({"Dockerfile": DOCKERFILE.format(limits=limits), "src/a": "a\n" * 50})
    command = world.command()
    wanted = {
        "keep": [str(REPOSITORY), str(shared)],
        "command": command[: command.index("-m")],
        "count": COUNT,
        "seed": int(os.environ.get("PYBUILD_LEAKS_SEED", "1")),
        "root": world.mode == "root",
        "base": str(base_layout),
        "leave": leave,
    }
    (scratch := world.top / "scratch").mkdir()
    inner = ["unshare", "--pid", "--ipc", "--mount", "--fork", "--kill-child", "--mount-proc", sys.executable]
    done = subprocess.run(
        on_a_machine(scratch, [*inner, "-m", "tests.attacks.leaking", "machine", json.dumps(wanted)]),
        cwd=world.project,
        env=world.environment(SOURCE_DATE_EPOCH="0", PYBUILD_NETWORK=""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.attack("K10", "S17", by="both")
def test_nothing_is_left(world: World, shared: Path, base_layout: Path) -> None:
    found = leaking(world, shared, base_layout)
    assert found["left"] == [], "\n".join(found["left"])
    assert found["killed"] >= COUNT // 4, found
    assert found["whole"] >= COUNT, found


@pytest.mark.parametrize("world", ["root"], indirect=True)
def test_one_of_everything_would_be_found(world: World, shared: Path, base_layout: Path) -> None:
    groups = sorted(Path("/sys/fs/cgroup").glob("*/cgroup.procs"))
    if not groups:
        pytest.skip("missing in this kernel: control groups")
    try:
        left = leaking(world, shared, base_layout, leave=True)["left"]
    finally:
        for path in groups[0].parent.glob("pybuild-*-left"):
            path.rmdir()
    kinds = {line.split(":")[0] for line in left}
    wanted = "processes, namespaces, mounts, network devices, routes, rules, control groups, shared memory, files"
    assert kinds == set(wanted.split(", ")), left
