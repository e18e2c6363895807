"""A busybox root filesystem, and `box`: sandboxes run as root, as a user with an id range, and as one without."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import buildkit_py
from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec
from tests.needs import need

PACKAGE = Path(buildkit_py.__file__).parent
USER = "pybuildtest"
WITHOUT_RANGE = 54321
APPLETS = (
    "sh true false id cat ls mount umount ps env sleep hostname mkdir rmdir rm mv chown chmod yes head touch echo grep "
    "setsid stat mknod readlink wc ip kill printf test tty stty ln cut sort find pwd dd ulimit su cp nc nslookup"
)


def world_readable_directory() -> str:
    """A new directory for tests that every user may enter, on a file system that overlay can write to."""
    base = tempfile.mkdtemp(prefix="pybuild-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    os.chmod(base, 0o755)
    return base


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    base = Path(world_readable_directory())
    yield base
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def rootfs(place: Path) -> Path:
    """A root filesystem of nothing but busybox, owned by root, one for all tests: nobody may change it."""
    need("busybox")
    root = place / "rootfs"
    for name in ("bin", "etc", "tmp", "var/empty", "home"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy(str(shutil.which("busybox", path="/bin:/usr/bin:/sbin:/usr/sbin")), root / "bin/busybox")
    for applet in APPLETS.split():
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001:Alice:/home/alice:/bin/sh\nnohome:x:1002:1002:::\n"
    )
    (root / "etc/group").write_text("root:x:0:\nstaff:x:50:alice,bob\nwheel:x:51:alice\nalice:x:1001:\n")
    return root


class Box:
    """A driver process and a short way to say what to run in it."""

    def __init__(self, mode: str, rootfs: Path, process: subprocess.Popen[bytes]) -> None:
        self.mode = mode
        self.rootfs = rootfs
        self._process = process
        self.privileged, self.userns, self.single_id, self.why = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def run(
        self,
        *argv: str,
        layers: list[dict[str, bytes]] | None = None,
        root: RootFilesystem | None = None,
        **fields: Any,
    ) -> SimpleNamespace:
        """Run a command over the busybox root and `layers`; what it left is in `.upper`."""
        base = root if root is not None else RootFilesystem(layers=(str(self.rootfs),), upper="@")
        fields.setdefault("env", (("PATH", "/usr/bin:/bin"),))
        spec = SandboxSpec(root=base, argv=argv, **fields)
        assert self._process.stdin is not None
        pickle.dump((spec.wire(), layers or []), self._process.stdin)
        self._process.stdin.flush()
        return SimpleNamespace(**{"error": "", "code": None, **self._answer()})

    def sh(self, script: str, **fields: Any) -> SimpleNamespace:
        return self.run("sh", "-c", script, **fields)

    def lines(self, script: str, **fields: Any) -> list[str]:
        """The output of a script that has to succeed."""
        result = self.sh(script, **fields)
        assert (result.code, result.error) == (0, ""), result
        lines: list[str] = result.out.splitlines()
        return lines


def _ensure_user(place: Path) -> None:
    """The user with an id range, made once for all test processes."""
    need("useradd", "setpriv", "newuidmap")
    with open("/run/lock/pybuild-test-user" if os.path.isdir("/run/lock") else place / "user", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if subprocess.run(["id", USER], capture_output=True, check=False).returncode:
            subprocess.run(["useradd", "-m", USER], check=True)
        for kind in ("subuid", "subgid"):
            if f"{USER}:" not in Path(f"/etc/{kind}").read_text():
                flag = f"--add-{kind}s"
                subprocess.run(["usermod", flag, "100000-165535", USER], check=True)


def interpreter() -> str:
    """A Python that every user may start: this one may lie in root's home."""
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        real = os.path.realpath(path)
        parents = [str(parent) for parent in Path(real).parents]
        if os.path.exists(real) and all(os.stat(parent).st_mode & 0o001 for parent in parents):
            return path
    pytest.skip("no Python interpreter that an ordinary user may start")


def start_as(mode: str, place: Path, arguments: list[str]) -> list[str]:
    """The command line that runs Python with `arguments` as the user of `mode`."""
    if mode == "root":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        return [sys.executable, *arguments]
    if os.geteuid() != 0:
        if mode == "single":
            pytest.skip("needs root to become a user without an id range")
        return [sys.executable, *arguments]
    need("setpriv")
    if mode == "range":
        _ensure_user(place)
        user, group = USER, USER
    else:
        user = group = str(WITHOUT_RANGE)
    return ["setpriv", "--reuid", user, "--regid", group, "--clear-groups", interpreter(), *arguments]


@pytest.fixture(scope="session")
def package_copy(place: Path) -> Path:
    """The package where every user can read it."""
    copy = place / "package"
    shutil.copytree(PACKAGE, copy / "buildkit_py", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="session", params=["root", "range", "single"])
def box(request: pytest.FixtureRequest, rootfs: Path, place: Path, package_copy: Path) -> Iterator[Box]:
    work = place / f"work-{request.param}"
    work.mkdir()
    work.chmod(0o1777)
    driver = place / "driver.py"
    shutil.copy(Path(__file__).with_name("driver.py"), driver)
    command = start_as(request.param, place, [str(driver), str(package_copy), str(work), str(rootfs)])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Box(request.param, rootfs, process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert str(place) not in Path("/proc/self/mountinfo").read_text()
