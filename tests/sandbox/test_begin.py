"""Sandboxes that are begun before their spec is known, by a process that has nothing else to do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from buildkit_py.sandbox.elsewhere import Elsewhere
from buildkit_py.sandbox.spec import Outline, RootFilesystem, SandboxMount, SandboxSpec

_SCRIPT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.foreground import Foreground
from buildkit_py.sandbox.spec import Outline, RootFilesystem, SandboxSpec
layer, base, how = sys.argv[2:5]

def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(number) for number in file.read().split()]

def spec(**fields):
    root = RootFilesystem(layers=(layer,), upper=f"{base}/upper", work=f"{base}/work")
    return SandboxSpec(root=root, argv=("sh", "-c", sys.argv[5]), env=(("PATH", "/bin"),), hostname="late", **fields)

if how == "broken":
    sys.modules["buildkit_py.sandbox.init"] = None
before = len(os.listdir("/proc/self/fd"))
starter = Foreground()
if how == "confined":
    starter.begin(Outline("none", 0, (), 3 << 20))
else:
    starter.begin(Outline("none"))
(begun,) = children()
if how == "killed":
    os.kill(begun, signal.SIGKILL)
    os.waitid(os.P_PID, begun, os.WEXITED | os.WNOWAIT)
if how != "never":
    for name in ("upper", "work"):  # which it has not seen when it was begun
        os.mkdir(f"{base}/{name}")
    fields = {"network": "host"} if how == "other" else {"network": "none"}
    if how == "confined":
        fields |= {"capabilities": 0, "shm": 3 << 20}
    try:
        sandbox = starter.spawn(spec(**fields))
        print("the same" if sandbox.pid == begun else "another", flush=True)
        print(sandbox.wait().code)
    except SandboxError as error:
        print(error.message)
starter.close()
print(children(), len(os.listdir("/proc/self/fd")) - before)
"""


@pytest.mark.parametrize(
    ("how", "command", "said"),
    [
        ("usual", "echo $$; hostname; cat; exit 7", "the same\n1\nlate\nfrom outside\n7\n"),
        ("confined", "grep CapBnd /proc/self/status; grep -o size=3072k /proc/mounts", None),
        ("other", "hostname", "another\nlate\n0\n"),
        ("killed", "hostname", "another\nlate\n0\n"),
        ("never", "", ""),
        ("broken", "", None),
    ],
)
def test_a_begun_sandbox(how: str, command: str, said: str | None, rootfs: Path, place: Path) -> None:
    base = place / f"begun-{how}"
    base.mkdir()
    script = [sys.executable, "-c", _SCRIPT, str(Path(__file__).parents[2]), str(rootfs), str(base), how, command]
    done = subprocess.run(script, input="from outside\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.endswith("[] 0\n"), done.stdout  # no process and no descriptor is left
    found = done.stdout.removesuffix("[] 0\n")
    if how == "confined":
        assert found.split() == ["the", "same", "CapBnd:", "0000000000000000", "size=3072k", "0"]
    elif how == "broken":
        assert "what makes a sandbox cannot be loaded" in found
    else:
        assert found == said


def test_what_a_sandbox_has_to_be_begun_with() -> None:
    plain = SandboxSpec(root=RootFilesystem(), argv=("x",))
    assert plain.outline == Outline()
    confined = plain.replace(network="none", capabilities=1, cgroups=("/a",), shm=2, open_ports=True)
    assert confined.outline == Outline("none", 1, ("/a",), 2)
    large = SandboxMount("file", "/large", data=b"x" * (3 << 20))
    for change in ({"insecure": True}, {"number": 20000}, {"runtime": ("crun", "/c", "/b")}, {"mounts": (large,)}):
        assert plain.replace(**change).outline is None


def test_a_child_is_sent_elsewhere_and_may_come_back() -> None:
    allowed = os.sched_getaffinity(0)
    there = Elsewhere()
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        there.send(child)
        assert os.sched_getaffinity(child) == allowed
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    there.send(child)  # it is gone: nothing to do


def test_with_one_processor_there_is_no_elsewhere() -> None:
    script = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1]); from buildkit_py.sandbox.elsewhere import Elsewhere\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "there, child = Elsewhere(), os.fork()\n"
        "child or (time.sleep(60), os._exit(0))\n"
        "there.send(child); print(os.sched_getaffinity(child) == os.sched_getaffinity(0)); os.kill(child, 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parents[2])], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
