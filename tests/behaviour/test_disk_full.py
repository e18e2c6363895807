"""The store's disk is full: in a step, while packing, unpacking and writing out; what is said, and that it heals.

The disk is a tmpfs in a mount namespace of the test's own, made larger in
between, as somebody who frees space does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.behaviour.world import World
from tests.needs import need

# Runs in the namespace: builds with little space, then with enough, and prints what came of each.
SCRIPT = """
import json, os, subprocess, sys
disk, small, large, prefix, commands, again = json.loads(sys.argv[1])
def mount(*options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", disk], check=True)
def run(argv):
    done = subprocess.run([*prefix, *argv], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr
mount(f"size={small}", "mode=0777")
first = [run(argv) for argv in commands]
mount("remount", f"size={large}", "mode=0777")
second = [run(argv) for argv in commands if again]
print(json.dumps([first, second]))
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


def on_a_small_disk(
    world: World, size: str, *commands: list[str], disk: Path | None = None, again: bool = True
) -> list[list[Done]]:
    """Each command's outcome on a disk of that size, and once more (if wanted) when it is large."""
    need("unshare", "mount")
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's mounts cannot hold a store that is used from his other namespaces")
    if disk is None:
        disk = world.top / "disk"
        world.store = disk / "store"
    disk.mkdir(exist_ok=True)
    start = world.command().index("buildkit_py") - 2
    prefix = world.command()[:start]
    python = world.command()[start:]
    lines = [[*python, *argv] for argv in commands]
    wanted = json.dumps([str(disk), size, "500m", prefix, lines, again])
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", SCRIPT, wanted],
        cwd=world.project,
        env=world.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    both = [[Done(*one) for one in half] for half in json.loads(done.stdout)]
    for one in (*both[0], *both[1]):
        assert "Traceback" not in one.err
        assert "internal error" not in one.err
    return both


@pytest.fixture
def busybox(base_layout: Path) -> str:
    return f"--build-context=busybox=oci-layout://{base_layout}"


def full(done: Done, *, code: int = 5) -> None:
    """It says so once, and what to do."""
    assert done.code == code, done.err
    assert done.err.count("error: ") == 1, done.err
    assert "no space left" in done.err
    assert "hint: free some" in done.err


def healed(done: Done) -> None:
    assert done.code == 0, done.err


VERIFY = ["cache", "verify"]
USED = ["cache", "du", "--json"]


@pytest.mark.attack("S14", "K4")
def test_in_a_step(world: World, busybox: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=40 2>/dev/null || exit 9\n"})
    build = ["build", "--progress=plain", busybox, "."]
    (failed, used, verified), (again, _, verified_again) = on_a_small_disk(world, "20m", build, USED, VERIFY)
    # The command itself fails, as it does everywhere, and here even in silence; why is said on top.
    assert failed.code == 1, failed.err
    assert "Dockerfile:2:1: `[2/2] RUN dd" in failed.err
    assert "ended with exit code 9" in failed.err
    assert "hint: the disk of the store is full" in failed.err
    # What fills the disk is not kept for a look at it.
    assert json.loads(used.out)["failed"]["count"] == 0
    # The base, which is too large for such a store, may be on its way out of it.
    assert json.loads(used.out)["work"]["bytes"] < 8 << 20
    for one in (verified, again, verified_again):
        healed(one)


def test_where_a_step_complains(world: World, busybox: str) -> None:
    # There is no room for its complaint, either.
    world.write({"Dockerfile": "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=40; sleep 300\n"})
    build = ["build", "--progress=plain", busybox, "."]
    (failed, verified), _ = on_a_small_disk(world, "20m", build, VERIFY, again=False)
    full(failed)
    healed(verified)


def test_while_a_copy_is_packed(world: World, busybox: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nCOPY big /\nRUN true\n", "big": os.urandom(30 << 20)})
    build = ["build", "--progress=plain", busybox, "-t", "x", "."]
    (failed, verified), (again, verified_again) = on_a_small_disk(world, "20m", build, VERIFY)
    full(failed)
    for one in (verified, again, verified_again):
        healed(one)


def test_while_the_image_is_packed(world: World, busybox: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=12 2>/dev/null\n"})
    build = ["build", "--progress=plain", busybox, "-t", "x", "."]
    (failed, verified), (again, verified_again) = on_a_small_disk(world, "20m", build, VERIFY)
    full(failed)
    for one in (verified, again, verified_again):
        healed(one)


def test_while_a_base_is_unpacked(world: World, base_layout: Path, busybox: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN true\n"})
    build = ["build", "--progress=plain", busybox, "."]
    # The blob alone has room.
    (failed, verified), (again, verified_again) = on_a_small_disk(world, "3m", build, VERIFY)
    full(failed)
    for one in (verified, again, verified_again):
        healed(one)


@pytest.mark.attack("K4")
def test_at_every_size(world: World, busybox: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nCOPY file /\nRUN cp /file /copy\n", "file": os.urandom(200_000)})
    build = ["build", "--progress=plain", busybox, "-t", "x", "."]
    for kilobytes in (4, 40, 200, 1500, 2400, 3000, 4400, 4800, 5000):
        (failed, _), (again, verified) = on_a_small_disk(world, f"{kilobytes}k", build, VERIFY)
        if failed.code != 0:
            assert failed.code in (1, 5), failed.err
            assert "o space left" in failed.err
        healed(again)
        healed(verified)


@pytest.mark.parametrize("kind", ["type=oci,dest=out/x", "type=tar,dest=out/x", "type=local,dest=out/x"])
def test_while_the_result_is_written_out(world: World, busybox: str, kind: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=12 2>/dev/null\n"})
    build = ["build", "--progress=plain", busybox, "-o", kind, "."]
    out = world.project / "out"
    (failed, listed), (again, _) = on_a_small_disk(world, "4m", build, VERIFY, disk=out)
    full(failed, code=7)
    healed(listed)
    healed(again)


def test_standard_output_to_a_full_disk(world: World, busybox: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN echo x > /x\n"})
    with Path("/dev/full").open("wb") as gone:
        done = subprocess.run(
            world.command("build", "-q", busybox, "-o", "type=tar,dest=-", "."),
            cwd=world.project,
            env=world.environment(),
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    full(Done(done.returncode, "", done.stderr), code=7)


def test_while_a_layer_is_imported(world: World, busybox: str) -> None:
    """A portable cache has it; what does not fit is no reason to do anything otherwise when there is room."""
    world.write({"Dockerfile": "FROM busybox\nRUN head -c 12000000 /dev/urandom > /big\n"})
    cache = world.top / "cache"
    world.run("build", busybox, f"--cache-to=type=local,dest={cache}", ".", PYBUILD_HOME=str(world.top / "other"))
    build = ["build", "--progress=plain", busybox, f"--cache-from=type=local,src={cache}", "-o", "out", "."]
    (failed, verified), (again, verified_again) = on_a_small_disk(world, "9m", build, VERIFY)
    full(failed)
    for one in (verified, again, verified_again):
        healed(one)
    assert "are made again" not in again.err
    assert "#2 CACHED" in again.err
