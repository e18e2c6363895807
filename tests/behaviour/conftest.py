"""`world`: a project and a store; each test that takes it runs as root and as an ordinary user with an id range."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.behaviour.containers import removed_at_the_end
from tests.behaviour.world import REPOSITORY, World, libraries, this_python
from tests.conftest import SHARED
from tests.needs import need
from tests.processes import processes

USER = "pybuildtest"
MODES = ("root", "user")


@pytest.fixture(scope="session")
def shared() -> Path:
    """A directory that all test processes share and that every user may read."""
    return Path(os.environ[SHARED])


class _Once:
    """What is made once for all test processes."""

    def __init__(self, shared: Path, name: str) -> None:
        self.path = shared / name
        self._lock = shared / f"{name}.lock"

    def __enter__(self) -> Path:
        self._file = self._lock.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self.path

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.fixture(scope="session")
def base_layout(shared: Path) -> Path:
    """A base image of nothing but busybox and two users, as an OCI layout."""
    need("busybox")
    with _Once(shared, "busybox") as path:
        if not (path / "index.json").exists():
            from tests.behaviour.base_image import busybox_layout

            busybox_layout(path)
    return path


@pytest.fixture(scope="session")
def user_python(shared: Path) -> tuple[str, str]:
    """An interpreter that an ordinary user may start, and its PYTHONPATH."""
    for python in (this_python(), "/usr/bin/python3"):
        real = Path(os.path.realpath(python))
        if real.exists() and all(parent.stat().st_mode & 0o001 for parent in real.parents):
            break
    else:
        pytest.skip("no Python interpreter that an ordinary user may start")
    if not all(parent.stat().st_mode & 0o005 for parent in (REPOSITORY, *REPOSITORY.parents)):
        pytest.skip("the checkout lies where an ordinary user may not read")
    with _Once(shared, "python") as path:
        note = path.with_suffix(".path")
        if not note.exists():
            found = libraries(python, shared)
            # As for ours (`tests/conftest.py`); what cannot be written is compiled each time.
            compile_all = [python, "-m", "compileall", "-qq", str(REPOSITORY / "buildkit_py")]
            subprocess.run(compile_all, check=False)
            note.write_text(found)
        return python, note.read_text()


def make_user(shared: Path) -> None:
    """Make the ordinary user that tests build as, with a range of ids, where there is none."""
    with _Once(shared, "user"):
        try:
            pwd.getpwnam(USER)
        except KeyError:
            subprocess.run(["useradd", "-m", USER], check=True)
        for kind in ("subuid", "subgid"):
            if f"{USER}:" not in Path(f"/etc/{kind}").read_text():
                subprocess.run(["usermod", f"--add-{kind}s", "100000-165535", USER], check=True)


def _wait_for_background(top: Path) -> None:
    """Until no process that tends the store in the background is left: it would write to what is being removed."""
    for _ in range(600):
        lines = []
        for place in [process / "cmdline" for process in processes()]:
            with suppress(OSError):  # it ended meanwhile
                lines.append(place.read_bytes())
        if not any(os.fsencode(top) in line and b"from buildkit_py" in line for line in lines):
            return
        time.sleep(0.1)


@pytest.fixture(params=MODES)
def world(request: pytest.FixtureRequest, shared: Path, base_layout: Path) -> Iterator[World]:
    """A world with `FROM busybox` at hand (as a named context)."""
    mode = request.param
    if mode == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    prefix: tuple[str, ...] = ()
    python, library = this_python(), str(REPOSITORY)
    if mode == "user" and os.geteuid() == 0:
        need("setpriv", "newuidmap", "useradd")
        make_user(shared)
        prefix = ("setpriv", "--reuid", USER, "--regid", USER, "--clear-groups")
        python, library = request.getfixturevalue("user_python")
    top = Path(tempfile.mkdtemp(prefix="world-", dir=shared))
    made = World(top, mode, python, prefix, library)
    made.env["PYBUILD_NETWORK"] = "host"  # what other networks need, not every machine has; test_networks.py has tests
    if prefix:
        shutil.chown(top, USER, USER)
        shutil.chown(made.project, USER, USER)
    try:
        yield made
    finally:
        _wait_for_background(top)
        # Layers hold files of mapped owners and directories that nobody may write: only root removes all of them.
        if os.geteuid() != 0:
            made.run("cache", "prune", "--all", ok=False)
            for directory, names, _ in os.walk(top):
                for name in names:
                    if not os.path.islink(path := os.path.join(directory, name)):
                        os.chmod(path, 0o700)
        shutil.rmtree(top)
        assert str(top) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def svc(world: World, base_layout: Path) -> Iterator[World]:
    """A world with the image `svc`; all its containers go at the end."""
    world.write({"Dockerfile": "FROM busybox\nRUN echo of-the-image > /file\n"})
    world.run("build", "-t", "svc", f"--build-context=busybox=oci-layout://{base_layout}", ".")
    world.env["BASE"] = str(base_layout)
    with removed_at_the_end(world):
        yield world
