"""A program that becomes another one while it is looked at and started: never the interpreter of who starts it.

Where it is, `/proc/PID/exe` leads whoever is inside to the machine's own
python3, to be written to by root (CVE-2019-5736). The image brings a loader
of its own, so that such an interpreter would run, and be seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from buildkit_py.sandbox.spec import RootFilesystem, SandboxMount
from tests.attacks.conftest import TRIES
from tests.attacks.doors import Door
from tests.attacks.images import link, member
from tests.sandbox.conftest import Box

# Who flips the link takes a whole processor, and two of them at once leave none for the tries.
pytestmark = [pytest.mark.xdist_group("races"), pytest.mark.timeout(900)]

HONEST = b"#!/bin/sh\necho honest\n"
# Writes one and the other over what is there.
REWRITING = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
while True:
    os.pwrite(fd, b"#!/proc/self/exe -VV\\n", 0)
    os.pwrite(fd, b"#!/bin/sh\\necho honest\\n", 0)
"""
LOADERS = ("lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1")
# The shell, and what it says of the program that it gets to read, which is itself.
MAY_BE = {(0, "honest"), (126, "leads out of the sandbox"), (2, "syntax error"), (127, "not found")}


def expected(code: int, text: str) -> bool:
    """Whether a try ended in one of the ways in which nothing of the machine was run."""
    return any(code == wanted and words in text for wanted, words in MAY_BE)


@pytest.mark.attack("S2", by="run")
@pytest.mark.parametrize("door", ["run"], indirect=True)
def test_a_command_that_joins_a_container(door: Door, inside: Path) -> None:
    """Tried PYBUILD_ATTACK_TRIES times, 60 where that is not set; the full number is 10,000."""
    program = inside.read_bytes()
    door.image(
        member(b"t", data=HONEST, mode=0o755),
        link("l", "/proc/self/exe"),
        *(member(name.encode(), data=program, mode=0o755) for name in LOADERS),
    )
    door.world.run("run", "-d", "--name=web", "box", "inside", "flip", "/t", "/l")
    try:
        for _ in range(TRIES):
            done = door.world.run("exec", "web", "/t", ok=False)
            assert expected(done.returncode, done.stdout + done.stderr), done
    finally:
        door.world.run("rm", "-f", "web")


@pytest.mark.attack("S2")
@pytest.mark.parametrize("path", ["/s/t", "/link", "/script"])
def test_a_program_in_a_mount_that_others_write_to(box: Box, place: Path, inside: Path, path: str) -> None:
    """Itself, by a link or as an interpreter.

    Tried ten times PYBUILD_ATTACK_TRIES (the others two), 600 where that is not set; the full number is 10,000.
    """
    shared = place / f"program-{box.mode}-{path[1:].replace('/', '-')}"
    shared.mkdir()
    (shared / "t").write_bytes(HONEST)
    (shared / "t").chmod(0o755)
    (shared / "l").symlink_to("/proc/self/exe")
    flipper = subprocess.Popen([inside, "flip", str(shared / "t"), str(shared / "l")])
    program = inside.read_bytes()
    try:
        for _ in range(min((10 if path == "/s/t" else 2) * TRIES, 10_000)):
            result = box.run(
                path,
                mounts=(SandboxMount("bind", "/s", source=str(shared)),),
                layers=[{**dict.fromkeys(LOADERS, program), "link": b"->/s/t", "script": b"#!/s/t\n"}],
            )
            assert expected(result.code, result.out + result.err), result
    finally:
        flipper.kill()
        flipper.wait()
    assert os.path.lexists(shared / "l")


@pytest.mark.attack("S2")
def test_a_program_of_this_machines_root_that_others_write_to(box: Box) -> None:
    """Its own bytes change, to those of a script for whoever starts it."""
    directory = Path(tempfile.mkdtemp(prefix="pybuild-program-", dir="/var/tmp"))
    directory.chmod(0o755)
    program = directory / "t"
    program.write_bytes(HONEST)
    program.chmod(0o755)
    flipper = subprocess.Popen([sys.executable, "-c", REWRITING, program])
    try:
        for _ in range(TRIES):
            result = box.run(str(program), root=RootFilesystem(layers=(), host=True, upper="@"))
            assert result.error == ""
            assert "Python" not in result.out + result.err
    finally:
        flipper.kill()
        flipper.wait()
        shutil.rmtree(directory)
