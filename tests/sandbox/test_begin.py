"""Sandboxes that are begun before their spec is known, by a process that has nothing else to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    reader, writer = os.pipe()
    try:
        sandbox = starter.spawn(spec(**fields), stdin=reader)
        print("the same" if sandbox.pid == begun else "another", flush=True)
        os.write(writer, b"from outside\\n")  # which it waits for, and so says what it has to behind that
        os.close(writer)
        print(sandbox.wait().code)
    except SandboxError as error:
        print(error.message)
    os.close(reader)
starter.close()
print(children(), len(os.listdir("/proc/self/fd")) - before)
"""


@pytest.mark.parametrize(
    ("how", "command", "said"),
    [
        ("usual", "cat; echo $$; hostname; exit 7", "the same\nfrom outside\n1\nlate\n7\n"),
        ("confined", "cat >/dev/null; grep CapBnd /proc/self/status; grep -o size=3072k /proc/mounts", None),
        ("other", "read _; hostname", "another\nlate\n0\n"),
        ("killed", "read _; hostname", "another\nlate\n0\n"),
        ("never", "", ""),
        ("broken", "", None),
    ],
)
def test_a_begun_sandbox(how: str, command: str, said: str | None, rootfs: Path, place: Path) -> None:
    base = place / f"begun-{how}"
    base.mkdir()
    script = [sys.executable, "-c", _SCRIPT, str(Path(__file__).parents[2]), str(rootfs), str(base), how, command]
    done = subprocess.run(script, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
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


_SENT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from buildkit_py.sandbox.affinity import Others, come_here
allowed = os.sched_getaffinity(0)
first, *rest = sorted(allowed)
os.sched_setaffinity(0, {first})  # or the kernel may move this process while it looks where it is
read, os.sched_getaffinity = os.sched_getaffinity, lambda _: set(allowed)
others = Others()
os.sched_getaffinity = read
os.sched_setaffinity(0, allowed)
child = os.fork()
if child == 0:
    while True:
        pass
os.sched_setaffinity(child, {first})  # where it would stay
masks = []
move = os.sched_setaffinity
os.sched_setaffinity = lambda pid, mask: (masks.append((pid, set(mask))), move(pid, mask))
others.send(child)
print(os.sched_getaffinity(child) == (allowed if rest else {first}), end=" ")
print(masks == ([(child, set(rest)), (child, allowed)] if rest else []), end=" ")
os.sched_setaffinity = move
os.sched_setaffinity(0, {first})
masks.clear()
os.sched_getaffinity = lambda _: set(allowed)
os.sched_setaffinity = lambda pid, mask: (masks.append((pid, set(mask))), move(pid, mask))
come_here(child)
os.sched_getaffinity = read
print(masks == [(child, {first}), (child, allowed)] and os.sched_getaffinity(child) == allowed)
os.kill(child, 9)
os.waitpid(child, 0)
others.send(child)  # it is gone: nothing to do
come_here(child)
"""


@pytest.mark.parametrize("one", [False, True])
def test_a_child_is_sent_to_another_processor_or_here_and_may_go_where_it_might_before(one: bool) -> None:
    words = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if one else []
    command = [*words, sys.executable, "-c", _SENT, str(Path(__file__).parents[2])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True True True\n"


@pytest.mark.parametrize("how", ["foreground", "server"])
def test_what_is_mounted_after_the_beginning_is_there(how: str, rootfs: Path, place: Path) -> None:
    """In a mount namespace of its own, whose mounts are private, as a container's or a machine's without systemd.

    A fork server has several that wait, each with the sockets of those before it.
    """
    base = place / f"begun-mounts-{how}"
    base.mkdir()
    script = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from buildkit_py.sandbox import syscalls\n"
        "from buildkit_py.sandbox.foreground import Foreground\n"
        "from buildkit_py.sandbox.launch import Launcher\n"
        "from buildkit_py.sandbox.spec import Outline, RootFilesystem, SandboxMount, SandboxSpec\n"
        "layer, base, how = sys.argv[2:5]\n"
        "syscalls.unshare(syscalls.CLONE_NEWNS)\n"
        "syscalls.mount(None, b'/', None, syscalls.MS_REC | syscalls.MS_PRIVATE)\n"
        "[os.mkdir(f'{base}/{name}') for name in ('upper', 'work', 'late')]\n"
        "if how == 'server':\n"
        "    starter = Launcher.start()\n"
        "    starter.prepare('host', 3)\n"
        "    while len(open(f'/proc/{starter._pid}/task/{starter._pid}/children').read().split()) < 3:\n"
        "        time.sleep(0.01)\n"
        "else:\n"
        "    starter = Foreground()\n"
        "    starter.begin(Outline('host'))\n"
        "syscalls.mount(b'tmpfs', f'{base}/late'.encode(), b'tmpfs', 0)\n"
        "open(f'{base}/late/hello', 'w').close()\n"
        "root = RootFilesystem(layers=(layer,), upper=f'{base}/upper', work=f'{base}/work')\n"
        "late = SandboxMount('bind', '/late', source=f'{base}/late')\n"
        "spec = SandboxSpec(root, ('ls', '/late'), env=(('PATH', '/bin'),), mounts=(late,))\n"
        "print(starter.spawn(spec, stdout=1, stderr=2).wait().code)\n"
        "starter.close()\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parents[2]), str(rootfs), str(base), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "hello\n0\n"


def test_a_signal_at_the_fork_is_the_parents_alone(rootfs: Path, place: Path) -> None:
    """A handler that raises would unwind the parent's stack in the child, and do there what is the parent's to do."""
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from buildkit_py.sandbox import begin as begins\n"
        "from buildkit_py.sandbox.foreground import Foreground\n"
        "from buildkit_py.sandbox.spec import Outline\n"
        "clone = begins.clone\n"
        "def interrupted(*given):\n"
        "    made = clone(*given)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    return made\n"
        "begins.clone = interrupted\n"
        "starter = Foreground()\n"
        "try:\n"
        "    starter.begin(Outline('none'))\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', os.getpid() == int(os.environ['SHELL_PID']), flush=True)\n"
        "finally:\n"
        "    starter.close()\n"
        "    print(open(f'/proc/self/task/{os.getpid()}/children').read().split())\n"
    )
    words = ["sh", "-c", 'SHELL_PID=$$ exec "$@"', "sh", sys.executable, "-c", script, str(Path(__file__).parents[2])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("interrupted True\n[]\n", "")
