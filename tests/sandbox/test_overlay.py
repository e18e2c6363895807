"""Overlay mounts on kernels before 6.13, which take no descriptors: the same program, told to do without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.sandbox.overlay import unique

_SCRIPT = """
import os, sys
from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import SetupFailure
from buildkit_py.sandbox.mounts import make_tmpfs
from buildkit_py.sandbox.overlay import Overlays, open_directory
base, count = sys.argv[1], int(sys.argv[2])
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount(None, b"/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
scaffold = make_tmpfs(0, {})
syscalls.move_mount(scaffold, syscalls.AT_FDCWD, b"/mnt")
overlays = Overlays(scaffold, user_xattr=False, by_descriptor=False)
lowers = [open_directory(f"{base}/{n}", "the layer") for n in range(count)]
upper, work = (open_directory(f"{base}/{name}", name) for name in ("upper", "work"))
try:
    tree = overlays.mount(lowers, upper=upper, work=work, volatile=True, attributes=syscalls.MOUNT_ATTR_NODEV)
except SetupFailure as failure:
    print(failure.stage)
    raise SystemExit
os.fchdir(tree)
with open("new", "w") as file:
    file.write("x")
print(len([n for n in os.listdir(".") if n.startswith("f")]), open("all").read())
print(len(os.listdir("/proc/self/fd")))
"""


@pytest.mark.privileged
@pytest.mark.parametrize("count", [2, 180, 181, 350])
def test_by_string(place: Path, count: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    base = place / f"strings-{count}"
    for number in range(count):
        (base / str(number)).mkdir(parents=True)
        (base / str(number) / f"f{number}").write_text("")
        (base / str(number) / "all").write_text(str(number))
    for name in ("upper", "work"):
        (base / name).mkdir()
    command = [sys.executable, "-c", _SCRIPT, str(base), str(count)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.split()[:2] == [str(count), str(count - 1)], result
    assert int(result.stdout.split()[2]) < 10  # nothing leaks
    assert (base / "upper/new").read_text() == "x"


def test_unique_keeps_the_highest() -> None:
    assert unique(("a", "b", "a", "c", "b")) == ["a", "c", "b"]
    assert unique(()) == []
