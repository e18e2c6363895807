"""The network lives as long as the one who wanted it: nothing is left of it, however that one ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.needs import need
from tests.sandbox.network.conftest import on_a_machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a machine")

# What the builder does: a sandbox on the isolated network that says that it runs, and stays.
_BUILDER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from buildkit_py.sandbox.foreground import Foreground
from buildkit_py.sandbox.launch import Launcher
from buildkit_py.sandbox.network.plan import draw
from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec
layer, base, mark, uplink, how = sys.argv[2:7]
for name in ("upper", "work"):
    os.makedirs(f"{base}/{name}")
root = RootFilesystem(layers=(layer,), upper=f"{base}/upper", work=f"{base}/work")
argv = ("sh", "-c", "nc -w 5 203.0.113.10 7000 </dev/null; exec sleep 1000")
spec = SandboxSpec(root=root, argv=argv, env=(("PATH", "/bin"), ("MARK", mark)), network="isolated")
starter = Launcher.start() if how == "server" else Foreground()
starter.connect(draw().replace(uplinks=(uplink,)))
sandbox = starter.spawn(spec, stdin=-1, stdout=1, stderr=2)
sys.stdin.read()
sandbox.destroy()
sandbox.wait()
starter.close()
"""


def _eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30  # for hung tests, not a measure
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class _Machine:
    """A machine, seen from outside by a process that stays in its network."""

    def __init__(self, scratch: Path, command: list[str]) -> None:
        self._shell = subprocess.Popen(
            on_a_machine(scratch, ["sh"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.say("true")
        within = ["nsenter", f"--net=/proc/{self._shell.pid}/ns/net", f"--mount=/proc/{self._shell.pid}/ns/mnt"]
        self.builder = subprocess.Popen([*within, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def say(self, command: str) -> str:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}; echo; echo end\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        while not lines or lines[-1] != "end\n":
            lines.append(self._shell.stdout.readline())
        return "".join(lines[:-1]).strip()

    def state(self) -> str:
        """What pybuild could leave in it: interfaces, routes, rules."""
        return self.say("ip -o link | cut -d: -f2; ip route; ip -6 route; nft list ruleset")

    def close(self) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait(30)


def _networks(processes: list[int]) -> set[str]:
    """The network namespaces that processes are in; some may have ended."""
    out = set()
    for pid in processes:
        try:
            out.add(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError:
            continue
    return out


def _all() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    """All processes below one, and it."""
    out, parents = [], {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    wanted = [pid]
    while wanted:
        one = wanted.pop()
        out.append(one)
        wanted += [child for child, parent in parents.items() if parent == one]
    return out


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", ["server", "foreground"])
@pytest.mark.parametrize("uplink", ["pasta", "bridge", "slirp4netns"])
@pytest.mark.parametrize("end", ["kill", "close"])
def test_nothing_is_left(how: str, uplink: str, end: str, rootfs: Path, place: Path) -> None:
    need("ip", "nft", "nsenter", *([] if uplink == "bridge" else [uplink]))
    base = place / f"life-{how}-{uplink}-{end}"
    base.mkdir()
    arguments = [str(Path(__file__).parents[3]), str(rootfs), str(base), f"life-{os.getpid()}", uplink, how]
    machine = _Machine(base / "scratch", [sys.executable, "-c", _BUILDER, *arguments])
    try:
        builder = machine.builder
        assert builder.stdin is not None
        assert builder.stdout is not None
        assert builder.stdout.readline() == b"world 192.0.2.2\n"
        before, during = "eth0", machine.state()
        assert ("pyb" in during) == (uplink == "bridge"), during
        family = _children(builder.pid)
        assert len(family) >= (4 if uplink == "bridge" else 5), "sandbox, gate, keeper, and the program"
        networks = _networks(family) - _networks([os.getpid(), builder.pid])
        assert len(networks) == 2, "the hub's and the sandbox's"
        if end == "kill":
            builder.kill()
        builder.stdin.close()
        assert builder.wait(60) == (-signal.SIGKILL if end == "kill" else 0)
        builder.stdout.close()
        assert _eventually(lambda: not any(_alive(pid) for pid in family)), [pid for pid in family if _alive(pid)]
        assert _eventually(lambda: not networks & _networks(_all()))
        assert _eventually(lambda: "pyb" not in machine.state()), machine.state()
        assert before in machine.state()
        assert str(base) not in Path("/proc/self/mountinfo").read_text()
    finally:
        machine.close()


# Kills every pasta of the machine that it is started on.
_KILL_OWN = """
import os, sys
own = os.readlink("/proc/self/ns/net")
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{name}/comm") as file:
            if file.read().startswith("pasta") and os.readlink(f"/proc/{name}/ns/net") == own:
                os.kill(int(name), 9)
    except OSError:
        pass
"""

_FAILING = """
import os, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.foreground import Foreground
from buildkit_py.sandbox.launch import Launcher
from buildkit_py.sandbox.network.plan import draw
from buildkit_py.sandbox.spec import Outline, RootFilesystem, SandboxSpec
layer, base, uplinks, between, how, command = sys.argv[2:8]
count = 0
def children():
    return set(map(int, open(f"/proc/self/task/{os.getpid()}/children").read().split()))
def spec():
    global count
    count += 1
    for name in ("upper", "work"):
        os.makedirs(f"{base}/{name}{count}")
    root = RootFilesystem(layers=(layer,), upper=f"{base}/upper{count}", work=f"{base}/work{count}")
    argv = ("sh", "-c", command)
    return SandboxSpec(root=root, argv=argv, env=(("PATH", "/bin"),), network="isolated")
launcher = Launcher.start() if how == "server" else Foreground()
hurry = how not in ("server", "foreground")
launcher.connect(draw().replace(uplinks=tuple(uplinks.split(","))), **({"hurry": True} if hurry else {}))
if hurry and how != "hurry":
    others = children()
    launcher.begin(Outline("isolated"))
    (begun,) = children() - others
if how == "killed":
    os.kill(begun, 9)
    os.waitid(os.P_PID, begun, os.WEXITED | os.WNOWAIT)
elif how == "stopped":
    os.kill(begun, 19)
elif how == "mounted":
    os.mkdir(f"{base}/mounted")
    subprocess.run(["mount", "-t", "tmpfs", "none", f"{base}/mounted"], check=True)
elif how == "late":
    time.sleep(1)  # the way out is there, and lost
    subprocess.run([sys.executable, "-c", between], check=True)
    between = ""
    time.sleep(0.5)  # until it is heard of
for attempt in range(1 if hurry else 2):
    try:
        sandbox = launcher.spawn(spec(), stdout=1, stderr=2)
        if how == "stopped":
            os.kill(sandbox.pid, 9)
        print(sandbox.wait().code, flush=True)
    except SandboxError as error:
        print(error.message, "|", error.hint, flush=True)
    if between:
        subprocess.run([sys.executable, "-c", between], check=True)
    time.sleep(0.3)
launcher.close()
"""


_ASK = "nc -w 5 203.0.113.10 7000 </dev/null"


def _try(
    rootfs: Path,
    base: Path,
    uplinks: str,
    *,
    path: str = "",
    between: str = "",
    how: str = "server",
    command: str = _ASK,
) -> list[str]:
    base.mkdir()
    script = [sys.executable, "-c", _FAILING, str(Path(__file__).parents[3]), str(rootfs), str(base), uplinks, between]
    script += [how, command]
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
    done = subprocess.run(
        on_a_machine(base / "scratch", script), capture_output=True, text=True, check=True, env=env, timeout=120
    )
    return done.stdout.splitlines()


def _program(place: Path, name: str, text: str) -> str:
    """A directory with a program of that name, which stands before the real one."""
    directory = place / f"path-{abs(hash(text))}"
    directory.mkdir(exist_ok=True)
    file = directory / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(directory)


def test_what_fails_gives_way_to_the_next(rootfs: Path, place: Path) -> None:
    path = _program(place, "pasta", "echo nothing doing >&2; exit 3")
    said = _try(rootfs, place / "next", "pasta,bridge", path=path)
    assert said == ["world 192.0.2.2", "0", "world 192.0.2.2", "0"]


def test_the_next_that_turns_out_to_lack_something_says_what(rootfs: Path, place: Path) -> None:
    path = _program(place, "pasta", "echo 0 > /proc/sys/net/ipv4/ip_forward; echo nothing doing >&2; exit 3")
    said = _try(rootfs, place / "lacks", "pasta,bridge", path=path)
    whole = "(pasta ended with 3: nothing doing; bridge: sysctl -w net.ipv4.ip_forward=1)"
    assert [line.split(" | ")[0] for line in said] == [f"an isolated network could not be made {whole}"] * 2


def test_when_all_fail_it_is_an_error_and_never_the_machines_network(rootfs: Path, place: Path) -> None:
    path = _program(place, "pasta", "echo nothing doing >&2; exit 3")
    said = _try(rootfs, place / "all", "pasta", path=path)
    assert len(said) == 2
    for line in said:
        message, hint = line.split(" | ")
        assert message == "an isolated network could not be made (pasta ended with 3: nothing doing)"
        assert "--network=host" in hint


def test_a_program_that_ends_later_is_told_of(rootfs: Path, place: Path) -> None:
    need("pasta")
    said = _try(rootfs, place / "later", "pasta", between=_KILL_OWN)
    assert said[:2] == ["world 192.0.2.2", "0"]
    assert said[2].startswith("an isolated network could not be made (pasta has ended")


@pytest.mark.parametrize("between", ["", _KILL_OWN], ids=["as it was", "its way out ended"])
def test_one_that_is_started_again_has_a_network_again(between: str, rootfs: Path, place: Path) -> None:
    need("pasta")
    base = place / f"again-{bool(between)}"
    said = _try(rootfs, base, "pasta", between=between, how="foreground")
    assert said == ["world 192.0.2.2", "0", "world 192.0.2.2", "0"]


# What a program of pasta's name does before it is pasta.
_REAL_PASTA = f'exec {shutil.which("pasta")} "$@"'
_NO_NETWORK = "an isolated network could not be made (pasta ended with 3: nothing doing)"


def test_one_that_does_not_wait_for_the_way_out_reaches_the_world(rootfs: Path, place: Path) -> None:
    need("pasta")
    path = _program(place, "pasta", f"sleep 4; {_REAL_PASTA}")
    said = _try(rootfs, place / "hurry", "pasta", path=path, how="begun")
    assert said == ["world 192.0.2.2", "0"]


def test_the_hub_takes_questions_for_names_as_soon_as_it_is_heard(rootfs: Path, place: Path) -> None:
    need("pasta")
    path = _program(place, "pasta", f"sleep 2; {_REAL_PASTA}")
    said = _try(rootfs, place / "names", "pasta", path=path, how="begun", command="nc -w 9 10.219.0.1 53 </dev/null")
    assert said == ["0"]


def test_what_it_sent_last_waits_for_the_way_out(rootfs: Path, place: Path) -> None:
    """The command has ended long before: its end is told when what it sent has gone out, or cannot."""
    need("pasta")
    command = f"echo it ran; ({_ASK} &); until grep -q 0A71 /proc/net/tcp; do :; done"
    path = _program(place, "pasta", "sleep 2; echo nothing doing >&2; exit 3")
    said = _try(rootfs, place / "last-fails", "pasta", path=path, how="begun", command=command)
    assert [line.split(" | ")[0] for line in said] == ["it ran", _NO_NETWORK]
    path = _program(place, "pasta", f"touch {place}/was-started; sleep 2; touch {place}/was-waited-for; {_REAL_PASTA}")
    assert _try(rootfs, place / "last", "pasta", path=path, how="begun", command=command) == ["it ran", "0"]
    assert (place / "was-waited-for").exists()


@pytest.mark.parametrize("how", ["begun", "mounted"])
def test_one_that_sends_nothing_does_not_wait_for_the_way_out(how: str, rootfs: Path, place: Path) -> None:
    """And takes with it what was to become one. What is mounted meanwhile is no reason to wait."""
    mark = f"quick-{how}-{os.getpid()}"
    path = _program(place, "pasta", f"exec sh -c 'sleep 1000; : {mark}'")
    command = "echo it ran; ls /sys/class/net; sleep 0.5"
    said = _try(rootfs, place / f"quick-{how}", "pasta", path=path, how=how, command=command)
    assert said == ["it ran", "eth0", "lo", "0"]
    assert _eventually(lambda: not any(mark in _command_line(pid) for pid in _all()))


@pytest.mark.parametrize(("seconds", "how"), [("0", "begun"), ("1", "begun"), ("0", "hurry"), ("0", "killed")])
def test_when_all_fail_one_that_runs_already_is_killed_and_it_is_an_error(
    seconds: str, how: str, rootfs: Path, place: Path
) -> None:
    path = _program(place, "pasta", f"sleep {seconds}; echo nothing doing >&2; exit 3")
    base = place / f"runs-already-{seconds}-{how}"
    said = _try(rootfs, base, "pasta", path=path, how=how, command="sleep 1000")
    assert [line.split(" | ")[0] for line in said] == [_NO_NETWORK]
    assert all("--network=host" in line for line in said)


@pytest.mark.parametrize("how", ["hurry", "begun", "killed"])
def test_what_fails_gives_way_to_the_next_while_it_runs(how: str, rootfs: Path, place: Path) -> None:
    """Also where what was begun is gone, and its network with it."""
    path = _program(place, "pasta", "sleep 1; echo nothing doing >&2; exit 3")
    said = _try(rootfs, place / f"next-{how}", "pasta,bridge", path=path, how=how)
    assert said == ["world 192.0.2.2", "0"]


def test_one_that_is_killed_before_it_is_connected_has_ended(rootfs: Path, place: Path) -> None:
    """Nobody waits for what it would have said of its network."""
    need("pasta")
    assert _try(rootfs, place / "stopped", "pasta", how="stopped", command="sleep 1000") == ["137"]


def test_a_way_out_that_is_lost_before_the_start_is_made_anew(rootfs: Path, place: Path) -> None:
    need("pasta")
    said = _try(rootfs, place / "late", "pasta", between=_KILL_OWN, how="late")
    assert said == ["world 192.0.2.2", "0"]
