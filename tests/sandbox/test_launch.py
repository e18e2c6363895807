"""The fork server's handle: many at once, signals, terminals, and that nothing outlives the builder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.launch import Launcher, Sandbox
from buildkit_py.sandbox.spec import RootFilesystem, SandboxMount, SandboxSpec

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runs sandboxes in the test process, which has to be root")


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher.start() as launcher:
        yield launcher


class Steps:
    """Specs over the busybox root, each with an upper directory of its own."""

    def __init__(self, rootfs: Path, base: Path) -> None:
        self._rootfs = rootfs
        self._base = base
        self._count = 0

    def __call__(self, *argv: str, env: tuple[tuple[str, str], ...] = (), terminal: bool = False) -> SandboxSpec:
        self._count += 1
        upper, work = self._base / f"upper-{self._count}", self._base / f"work-{self._count}"
        upper.mkdir()
        work.mkdir()
        root = RootFilesystem(layers=(str(self._rootfs),), upper=str(upper), work=str(work))
        return SandboxSpec(root=root, argv=argv, env=(("PATH", "/bin"), *env), terminal=terminal)


@pytest.fixture
def steps(rootfs: Path, place: Path, request: pytest.FixtureRequest) -> Steps:
    base = place / f"launch-{abs(hash(request.node.nodeid))}"
    base.mkdir()
    return Steps(rootfs, base)


def _output(launcher: Launcher, spec: SandboxSpec) -> tuple[int, bytes]:
    reader, writer = os.pipe()
    sandbox = launcher.spawn(spec, stdout=writer, stderr=writer)
    os.close(writer)
    data = b""
    while chunk := os.read(reader, 1 << 16):
        data += chunk
    os.close(reader)
    return sandbox.wait().code, data


def _marked(mark: str) -> list[int]:
    """Processes whose environment has the mark."""
    out = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if mark.encode() in Path(f"/proc/{name}/environ").read_bytes():
                    out.append(int(name))
            except OSError:
                continue
    return out


def _eventually(condition: object, *, seconds: float = 20) -> bool:
    """Whether `condition()` comes true; the limit is for hung tests, not a measure."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_thirty_at_once_from_threads(launcher: Launcher, steps: Steps) -> None:
    specs = [steps("sh", "-c", f"echo {number}; exit {number}") for number in range(30)]
    results: list[tuple[int, bytes] | None] = [None] * 30

    def run(number: int) -> None:
        results[number] = _output(launcher, specs[number])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(number, f"{number}\n".encode()) for number in range(30)]


def test_links_with_dots_are_followed_while_others_mount(launcher: Launcher, steps: Steps, place: Path) -> None:
    """openat2 gives up on ".." when anything in the system is mounted meanwhile, and has to be asked again."""
    layer = place / "dots"
    (layer / "etc").mkdir(parents=True)
    (layer / "etc/hosts").symlink_to("../../../run/x/../hosts")
    specs = []
    for _ in range(96):
        spec = steps("cat", "/run/hosts")
        root = spec.root.replace(layers=(*spec.root.layers, str(layer)))
        specs.append(spec.replace(root=root, hosts=b"seen\n"))
    failed: list[object] = []

    def run(mine: list[SandboxSpec]) -> None:
        for spec in mine:
            try:
                result = _output(launcher, spec)
            except SandboxError as error:
                failed.append(error)
            else:
                if result != (0, b"seen\n"):
                    failed.append(result)

    threads = [threading.Thread(target=run, args=(specs[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_much_output_is_whole(launcher: Launcher, steps: Steps) -> None:
    code, data = _output(launcher, steps("sh", "-c", "yes 0123456789abcde | head -c 16000000; echo; echo end"))
    assert code == 0
    assert data == b"0123456789abcde\n" * 1_000_000 + b"\nend\n"


def test_a_broken_pipe_kills_the_writer_quietly(launcher: Launcher, steps: Steps) -> None:
    assert _output(launcher, steps("sh", "-c", "yes | head -n 2")) == (0, b"y\ny\n")


@pytest.mark.attack("S15")
def test_a_background_process_does_not_hold_the_step(launcher: Launcher, steps: Steps) -> None:
    mark = f"PYBUILD_TEST_MARK={os.getpid()}-background"
    spec = steps("sh", "-c", "sleep 1000 & sh -c 'sleep 1000 & sleep 1000' & echo on", env=(tuple(mark.split("=")),))  # type: ignore[arg-type]
    assert _output(launcher, spec) == (0, b"on\n")
    assert _marked(mark) == []


def test_standard_input(launcher: Launcher, steps: Steps) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"hello")
    os.close(writer)
    out_reader, out_writer = os.pipe()
    sandbox = launcher.spawn(steps("cat"), stdin=reader, stdout=out_writer, stderr=2)
    os.close(reader)
    os.close(out_writer)
    assert sandbox.wait().code == 0
    assert os.read(out_reader, 100) == b"hello"
    os.close(out_reader)


def _started(launcher: Launcher, spec: SandboxSpec) -> Sandbox:
    """A sandbox whose command has written its first byte."""
    reader, writer = os.pipe()
    sandbox = launcher.spawn(spec, stdout=writer, stderr=2)
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    return sandbox


def test_signals_and_destruction(launcher: Launcher, steps: Steps) -> None:
    sandbox = _started(launcher, steps("sh", "-c", "trap 'exit 7' TERM; echo x; while :; do sleep 0.05; done"))
    sandbox.kill(signal.SIGTERM)
    assert sandbox.wait().code == 7
    sandbox.kill(signal.SIGTERM)  # too late, and no error
    sandbox = _started(launcher, steps("sh", "-c", "trap '' TERM; echo x; sleep 1000"))
    sandbox.kill(signal.SIGTERM)
    sandbox.destroy()
    assert sandbox.wait().code == 128 + 9
    assert sandbox.wait().code == 128 + 9


def test_memory_and_time_are_told(launcher: Launcher, steps: Steps) -> None:
    sandbox = launcher.spawn(steps("sh", "-c", "sleep 0.1"), stdout=1, stderr=2)
    ended = sandbox.wait()
    assert ended.seconds >= 0.1
    assert ended.max_rss > 100_000


def test_a_terminal(launcher: Launcher, steps: Steps) -> None:
    script = "tty; test -t 0 && test -t 1 && test -t 2 && echo all; ls -l /dev/console; read x; echo got $x; stty size"
    sandbox = launcher.spawn(steps("sh", "-c", script, terminal=True), stdout=1, stderr=2)
    master = sandbox.terminal_fd
    os.write(master, b"line\n")
    data = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:
            break  # EIO: the other side is closed
        if not chunk:
            break
        data += chunk
    os.close(master)
    assert sandbox.wait().code == 0
    lines = data.decode().replace("\r", "").splitlines()
    assert "/dev/pts/0" in lines
    assert "all" in lines
    assert "got line" in lines


def _waiting(launcher: Launcher) -> list[int]:
    """The sandboxes that the server has begun and that have no command yet: all others have ended."""
    children = Path(f"/proc/{launcher._pid}/task/{launcher._pid}/children").read_text()
    return [int(number) for number in children.split()]


def _prepared(launcher: Launcher) -> int:
    launcher.prepare()
    assert _eventually(lambda: len(_waiting(launcher)) == 1)
    return _waiting(launcher)[0]


def test_a_prepared_sandbox_is_taken(launcher: Launcher, steps: Steps) -> None:
    first = _prepared(launcher)
    launcher.prepare()  # one is enough
    sandbox = launcher.spawn(steps("true"), stdout=1, stderr=2)
    assert sandbox.pid == first
    assert sandbox.wait().code == 0
    assert _eventually(lambda: _waiting(launcher) == [])
    second = _prepared(launcher)
    assert _output(launcher, steps("sh", "-c", "echo $$; hostname")) == (0, b"1\nbuildkitsandbox\n")
    assert second not in _waiting(launcher)


def test_as_many_sandboxes_are_prepared_as_are_wanted(steps: Steps) -> None:
    with Launcher.start() as launcher:
        launcher.prepare("host", 3)
        assert _eventually(lambda: len(_waiting(launcher)) == 3)
        waiting = set(_waiting(launcher))
        os.kill(first := waiting.pop(), signal.SIGKILL)
        assert _eventually(lambda: first not in _waiting(launcher))
        begun = [launcher.spawn(steps("true"), stdout=1, stderr=2) for _ in range(3)]
        assert waiting < {sandbox.pid for sandbox in begun}
        assert [sandbox.wait().code for sandbox in begun] == [0, 0, 0]
        launcher.prepare("host", 2)
        assert _eventually(lambda: len(_waiting(launcher)) == 2)
        launcher.prepare("host", 2)
        assert _output(launcher, steps("echo", "x")) == (0, b"x\n")
        assert len(_waiting(launcher)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"network": "none"},
        {"capabilities": 0},
        {"mounts": (SandboxMount("file", "/large", data=b"x" * (3 << 20)),)},
    ],
    ids=["network", "capabilities", "large"],
)
def test_an_unusual_spec_leaves_the_prepared_one(launcher: Launcher, steps: Steps, fields: dict[str, Any]) -> None:
    waiting = _prepared(launcher)
    sandbox = launcher.spawn(steps("true").replace(**fields), stdout=1, stderr=2)
    assert sandbox.pid != waiting
    assert sandbox.wait().code == 0
    assert _waiting(launcher) == [waiting]
    assert _output(launcher, steps("echo", "x")) == (0, b"x\n")


def test_a_prepared_sandbox_that_died_is_no_loss(steps: Steps) -> None:
    with Launcher.start() as launcher:
        os.kill(_prepared(launcher), signal.SIGKILL)
        assert _eventually(lambda: not _waiting(launcher))
        # And where the server hears of the death together with the request:
        waiting = _prepared(launcher)
        os.kill(launcher._pid, signal.SIGSTOP)
        os.kill(waiting, signal.SIGKILL)
        threading.Timer(0.2, os.kill, (launcher._pid, signal.SIGCONT)).start()
        assert _output(launcher, steps("echo", "x")) == (0, b"x\n")
        assert _output(launcher, steps("echo", "y")) == (0, b"y\n")


def test_a_prepared_sandbox_has_the_files_that_its_spec_brings(launcher: Launcher, steps: Steps) -> None:
    _prepared(launcher)
    data = b"y" * (2 << 20)
    spec = steps("sh", "-c", "cat /a | wc -c; echo more > /tmp/b; cat /tmp/b")
    mounts = (SandboxMount("file", "/a", data=data), SandboxMount("tmpfs", "/tmp"))
    assert _output(launcher, spec.replace(mounts=mounts)) == (0, b"2097152\nmore\n")


def test_what_cannot_be_set_up_is_told_by_a_prepared_sandbox(launcher: Launcher, steps: Steps) -> None:
    _prepared(launcher)
    spec = steps("true").replace(mounts=(SandboxMount("bind", "/there", source="/nowhere"),))
    with pytest.raises(SandboxError, match="cannot bind: no such file") as caught:
        launcher.spawn(spec, stdout=1, stderr=2).wait()
    assert caught.value.at == "/nowhere"


_MOUNTED_LATE = """
import os, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from buildkit_py.sandbox.launch import Launcher
from buildkit_py.sandbox.spec import RootFilesystem, SandboxMount, SandboxSpec
layer, base = sys.argv[2:4]
mount = lambda *words: subprocess.run(["mount", *words], check=True)
for name in ("upper", "work", "early", "late"):
    os.mkdir(f"{base}/{name}")
mount("--make-rshared", "/")
mount("-t", "tmpfs", "early", f"{base}/early")
with Launcher.start() as launcher:
    launcher.prepare()
    while not open(f"/proc/{launcher._pid}/task/{launcher._pid}/children").read():
        time.sleep(0.01)
    waits = open(f"/proc/{launcher._pid}/task/{launcher._pid}/children").read().strip()
    mounts = lambda: open(f"/proc/{waits}/mountinfo").read()
    while " /sys/fs/cgroup" not in mounts() and time.monotonic() < float(sys.argv[4]):
        time.sleep(0.01)
    mount("-t", "tmpfs", "late", f"{base}/late")
    open(f"{base}/late/file", "w").write("seen\\n")
    subprocess.run(["umount", f"{base}/early"], check=True)
    print("early" if f"{base}/early" in mounts() else "none")
    sys.stdout.flush()
    root = RootFilesystem(layers=(layer,), upper=f"{base}/upper", work=f"{base}/work")
    binds = (SandboxMount("bind", "/late", source=f"{base}/late"),)
    spec = SandboxSpec(root=root, argv=("cat", "/late/file"), env=(("PATH", "/bin"),), mounts=binds)
    sys.exit(launcher.spawn(spec, stdout=1, stderr=2).wait().code)
"""


def test_a_prepared_sandbox_follows_what_the_machine_mounts_and_unmounts(rootfs: Path, place: Path) -> None:
    base = place / "mounted-late"
    base.mkdir()
    root = str(Path(__file__).parents[2])
    command = ["unshare", "--mount", sys.executable, "-c", _MOUNTED_LATE, root, str(rootfs), str(base)]
    result = subprocess.run([*command, str(time.monotonic() + 20)], capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("none\nseen\n", 0), result.stderr


def test_closing_ends_what_runs(steps: Steps) -> None:
    mark = f"PYBUILD_TEST_MARK={os.getpid()}-close"
    name, _, value = mark.partition("=")
    with Launcher.start() as launcher:
        sandbox = _started(launcher, steps("sh", "-c", "echo x; sleep 1000 & sleep 1000", env=((name, value),)))
        assert _eventually(lambda: len(_marked(mark)) >= 2)
        launcher.prepare()
        assert _eventually(lambda: len(_waiting(launcher)) == 2)
        waiting = _waiting(launcher)
    assert _marked(mark) == []
    assert not [number for number in waiting if os.path.exists(f"/proc/{number}")]
    with pytest.raises(SandboxError, match="ended before its sandbox"):
        sandbox.wait()
    with pytest.raises(SandboxError, match="has ended"):
        launcher.spawn(steps("true"), stdout=1, stderr=2)


def test_the_server_may_die(steps: Steps) -> None:
    launcher = Launcher.start()
    mark = f"PYBUILD_TEST_MARK={os.getpid()}-server"
    name, _, value = mark.partition("=")
    sandbox = _started(launcher, steps("sh", "-c", "echo x; sleep 1000", env=((name, value),)))
    os.kill(launcher._pid, signal.SIGKILL)
    with pytest.raises(SandboxError, match="ended before its sandbox"):
        sandbox.wait()
    assert _eventually(lambda: not _marked(mark))
    launcher.close()


_BUILDER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from buildkit_py.sandbox.foreground import Foreground
from buildkit_py.sandbox.launch import Launcher
from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec
layer, base, mark, how = sys.argv[2:6]
def spec(number):
    for name in ("upper", "work"):
        os.makedirs(f"{base}/{name}{number}")
    root = RootFilesystem(layers=(layer,), upper=f"{base}/upper{number}", work=f"{base}/work{number}")
    script = "echo x; sh -c 'sleep 1000 & sleep 1000' & setsid sleep 1000 & exec sleep 1000"
    env, user = (("PATH", "/bin"), ("MARK", mark)), "alice" if number else ""
    return SandboxSpec(root=root, argv=("sh", "-c", script), env=env, user=user)
if how == "server":
    launcher = Launcher.start()
    running = [launcher.spawn(spec(number), stdout=1, stderr=2) for number in range(3)]
else:
    running = [Foreground().spawn(spec(number)) for number in range(2)]
time.sleep(1000)
"""


@pytest.mark.parametrize("how", ["server", "foreground"])
def test_killing_the_builder_leaves_nothing(how: str, rootfs: Path, place: Path) -> None:
    mark = f"killed-{how}-{os.getpid()}"
    base = place / f"kill-{how}"
    base.mkdir()
    root = str(Path(__file__).parents[2])
    builder = subprocess.Popen(
        [sys.executable, "-c", _BUILDER, root, str(rootfs), str(base), mark, how], stdout=subprocess.PIPE
    )
    assert builder.stdout is not None
    wanted = 3 if how == "server" else 2
    data = b""
    while len(data) < 2 * wanted:
        data += os.read(builder.stdout.fileno(), 16)
    assert _eventually(lambda: len(_marked(mark)) >= 4 * wanted)
    builder.kill()
    builder.wait()
    builder.stdout.close()
    assert _eventually(lambda: not _marked(mark)), _marked(mark)
    assert str(base) not in Path("/proc/self/mountinfo").read_text()


def test_the_foreground_way(rootfs: Path, place: Path) -> None:
    base = place / "foreground"
    base.mkdir()
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from buildkit_py.sandbox.foreground import run_foreground\n"
        "from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec\n"
        "root = RootFilesystem(layers=(sys.argv[2],), upper=sys.argv[3] + '/up', work=sys.argv[3] + '/wk')\n"
        "import os; os.mkdir(root.upper); os.mkdir(root.work)\n"
        "spec = SandboxSpec(root=root, argv=('sh', '-c', sys.argv[4]), env=(('PATH', '/bin'),))\n"
        "sys.exit(run_foreground(spec).code)\n"
    )
    command = "trap 'echo caught; exit 9' TERM; cat; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(Path(__file__).parents[2]), str(rootfs), str(base), command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"from outside\n")
    process.stdin.close()
    assert process.stdout.readline() == b"from outside\n"
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == b"caught\n"
    process.stdout.close()
    assert process.wait() == 9


def test_a_unified_cgroup_hierarchy_is_shown_read_only(rootfs: Path, place: Path) -> None:
    base = place / "cgroup"
    base.mkdir()
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from buildkit_py.sandbox import syscalls\n"
        "from buildkit_py.sandbox.launch import Launcher\n"
        "from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec\n"
        "syscalls.unshare(syscalls.CLONE_NEWNS)\n"
        "syscalls.mount(None, b'/', None, syscalls.MS_REC | syscalls.MS_PRIVATE)\n"
        "syscalls.mount(b'none', b'/sys/fs/cgroup', b'cgroup2', 0)\n"
        "root = RootFilesystem(layers=(sys.argv[2],), upper=sys.argv[3] + '/up', work=sys.argv[3] + '/wk')\n"
        "import os; os.mkdir(root.upper); os.mkdir(root.work)\n"
        "spec = SandboxSpec(root=root, argv=('sh', '-c', sys.argv[4]), env=(('PATH', '/bin'),))\n"
        "with Launcher.start() as launcher: sys.exit(launcher.spawn(spec, stdout=1, stderr=2).wait().code)\n"
    )
    command = (
        "cat /proc/self/cgroup; grep /sys/fs/cgroup /proc/self/mountinfo; ls /sys/fs/cgroup; mkdir /sys/fs/cgroup/x"
    )
    arguments = [sys.executable, "-c", script, str(Path(__file__).parents[2]), str(rootfs), str(base), command]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    lines = result.stdout.splitlines()
    assert "0::/" in lines, result
    mounts = [line for line in lines if " cgroup2 " in line]
    assert len(mounts) == 1
    assert "ro,nosuid,nodev,noexec" in mounts[0]
    assert "cgroup.procs" in lines
    assert result.returncode == 1
    assert "Read-only" in result.stderr


def test_what_the_builder_imports() -> None:
    """The handle is on the path of every build: it may not load what only a sandbox needs."""
    script = "import buildkit_py.sandbox.launch, sys; print(*sys.modules)"
    root = Path(__file__).parents[2]
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(root)!r}); {script}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"ctypes", "typing", "re", "enum", "socket", "signal", "json", "subprocess"} & set(out)


def test_no_descriptors_leak(launcher: Launcher, steps: Steps) -> None:
    before = len(os.listdir("/proc/self/fd"))
    server = f"/proc/{launcher._pid}/fd"
    _output(launcher, steps("true"))
    open_there = len(os.listdir(server))
    for _ in range(5):
        _output(launcher, steps("true"))
        _output(launcher, steps("nope"))
    assert len(os.listdir("/proc/self/fd")) == before
    assert _eventually(lambda: len(os.listdir(server)) <= open_there)


_ENDING = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from buildkit_py.sandbox.foreground import Foreground
from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec
layer, base = sys.argv[2:4]
os.makedirs(f"{base}/upper")
os.makedirs(f"{base}/work")
root = RootFilesystem(layers=(layer,), upper=f"{base}/upper", work=f"{base}/work")
thread = threading.Thread(target=time.sleep, args=(0.3,))
thread.start()
sandbox = Foreground().spawn(SandboxSpec(root=root, argv=("sh", "-c", "exit 7"), env=(("PATH", "/bin"),)))
print(thread.is_alive(), sandbox.wait().code)
"""


def test_threads_that_are_ending_are_waited_for(rootfs: Path, place: Path) -> None:
    command = [sys.executable, "-c", _ENDING, str(Path(__file__).parents[2]), str(rootfs), str(place / "ending")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "False 7\n", done.stderr


def _joined(launcher: Launcher, sandbox: Sandbox, spec: SandboxSpec) -> tuple[int, bytes]:
    reader, writer = os.pipe()
    try:
        inside = launcher.join(sandbox.started(), spec, stdout=writer, stderr=writer)
    finally:
        os.close(writer)
    data = b""
    while chunk := os.read(reader, 1 << 16):
        data += chunk
    os.close(reader)
    return inside.wait().code, data


def _sleeping(launcher: Launcher, spec: SandboxSpec) -> Sandbox:
    null = os.open("/dev/null", os.O_WRONLY)
    sandbox = launcher.spawn(spec, stdout=null, stderr=null)
    os.close(null)
    assert sandbox.terminal_fd == -1  # it is set up
    return sandbox


def test_another_command_joins_a_sandbox(launcher: Launcher, steps: Steps) -> None:
    spec = steps("sh", "-c", "echo mine > /tmp/file; sleep 300")
    sandbox = _sleeping(launcher, spec)
    script = (
        "until test -s /tmp/file; do sleep 0.01; done; cat /tmp/file; echo $$; hostname; tr '\\0' ' ' < /proc/1/cmdline"
    )
    code, said = _joined(launcher, sandbox, spec.replace(argv=("sh", "-c", script)))
    lines = said.decode().splitlines()
    assert (code, lines[0], lines[2]) == (0, "mine", spec.hostname)
    assert int(lines[1]) > 1
    assert lines[3].split()[0] in ("sh", "sleep"), "the shell becomes its last command"
    assert _joined(launcher, sandbox, spec.replace(argv=("sh", "-c", "exit 7")))[0] == 7
    assert _joined(launcher, sandbox, spec.replace(argv=("/none",)))[0] == 127
    gone = os.dup(sandbox.started())
    sandbox.destroy()
    assert sandbox.wait().code == 128 + signal.SIGKILL
    with pytest.raises(SandboxError):
        launcher.join(gone, spec, stdout=1, stderr=1)
    os.close(gone)


def test_who_joined_ends_with_the_sandbox(launcher: Launcher, steps: Steps) -> None:
    spec = steps("sleep", "300")
    sandbox = _sleeping(launcher, spec)
    inside = launcher.join(sandbox.started(), spec.replace(argv=("sleep", "301")), stdout=1, stderr=1)
    sandbox.destroy()
    assert inside.wait().code == 128 + signal.SIGKILL
    assert sandbox.wait().code == 128 + signal.SIGKILL


def test_the_server_ends_with_sandboxes_that_were_joined(steps: Steps) -> None:
    """The kernel holds the first process of a sandbox until all in it are waited for."""
    mark = f"joined-{os.getpid()}-{time.monotonic_ns()}"
    with Launcher.start() as launcher:
        spec = steps("sleep", "300", env=(("MARK", mark),))
        sandboxes = [_sleeping(launcher, spec)]
        for _ in range(3):
            asked = spec.replace(argv=("sleep", "301"))
            sandboxes.append(launcher.join(sandboxes[0].started(), asked, stdout=1, stderr=1))
    assert _marked(mark) == []
    for sandbox in sandboxes:
        with pytest.raises(SandboxError):  # nobody is left to say how it ended
            sandbox.wait()
