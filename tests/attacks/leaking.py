"""A program that builds and runs again and again, kills some of it at random moments, and counts what is left.

    python -m tests.attacks.leaking machine JSON
    python -m tests.attacks.leaking work JSON

`machine` is process 1 of a machine of its own, where all that there is came from it: it starts `work` as the user of
the test, who builds and runs, and takes a census before and after: processes, namespaces, mounts, network devices,
routes and rules, control groups, shared memory, and files in the directories that everybody writes to. What is found
is printed as JSON: {"left": [what is wrong, …], "killed": …, "whole": …, "seconds": …}.

The JSON says: `keep`, paths that stay in sight; `command`, the user's prefix and Python; `count`, `seed`, `root`;
`base`; and `leave`: nothing is built, and one of everything is left, to see whether the census finds it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What everybody may write to, so that a leftover would lie there.
SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/run")
# Nobody waits this long: it turns what is left running into a message.
PATIENCE = 60.0
KILLED = 0.3
NETWORKS = ("none", "isolated", "host")


def fresh_directories(keep: list[str]) -> None:
    """Empty ones in the place of those that everybody may write to; `keep` are seen in them as before."""
    held, here = {path: os.open(path, os.O_PATH) for path in keep}, os.getcwd()
    for path in SHARED:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "leaking", path], check=True)
    for path, fd in held.items():
        os.makedirs(path, exist_ok=True)
        # As it is: mount would look up where the descriptor leads, and find what was just mounted there.
        subprocess.run(["mount", "--no-canonicalize", "--bind", f"/proc/self/fd/{fd}", path], check=True, pass_fds=[fd])
        os.close(fd)
    os.chdir(here)


def listed(*argv: str) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


def files() -> list[str]:
    """What lies in the directories that everybody may write to, but for what was kept in sight."""
    out: list[str] = []
    for top in SHARED:
        for where, directories, names in os.walk(top):
            directories[:] = [name for name in directories if not os.path.ismount(f"{where}/{name}")]
            out += [f"{where}/{name}" for name in names + directories]
    return out


def groups() -> set[str]:
    """The control groups that a pybuild made, of all machines: who looks has to wait for others to end."""
    return {str(path) for pattern in ("*/pybuild-*", "*/*/pybuild-*") for path in Path("/sys/fs/cgroup").glob(pattern)}


def namespaces() -> set[str]:
    """The namespaces that any process is in, or holds open."""
    out = set()
    for process in Path("/proc").glob("[0-9]*"):
        for kind in ("ns", "fd"):
            try:
                names = [os.readlink(path) for path in (process / kind).iterdir()]
            except OSError:
                continue  # it ended meanwhile
            out |= {name for name in names if ":[" in name and not name.startswith(("pipe:", "socket:", "anon_inode:"))}
    return out


def census() -> dict[str, set[str]]:
    """All that could be left."""
    return {
        "processes": {path.name for path in Path("/proc").glob("[0-9]*")},
        "namespaces": namespaces(),
        "mounts": {line.split(" ", 4)[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "network devices": {line.split(":")[1] for line in listed("ip", "-o", "link")},
        "routes": set(listed("ip", "route") + listed("ip", "-6", "route") + listed("ip", "rule")),
        "rules": set(listed("nft", "list", "ruleset")),
        "control groups": groups(),
        "shared memory": set(Path("/proc/sysvipc/shm").read_text().splitlines()[1:]),
        "files": set(files()),
    }


def machine(wanted: dict[str, Any]) -> None:
    """Take a census, let the user work, and take it again."""
    fresh_directories(wanted["keep"])
    before = census()
    with tempfile.TemporaryFile("w+", dir="/") as said:
        command = [*wanted["command"], "-m", "tests.attacks.leaking", "work", json.dumps(wanted)]
        worker = subprocess.Popen(command, stdout=said)
        while os.wait()[0] != worker.pid:  # orphans are this process's children, too
            pass
        said.seek(0)
        found = json.load(said)
    deadline = time.monotonic() + (0.0 if wanted["leave"] else PATIENCE)
    while True:
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
        left = {kind: sorted(names - before[kind]) for kind, names in census().items()}
        if not any(left.values()) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    found["left"] += [f"{kind}: {names}" for kind, names in left.items() if names]
    print(json.dumps(found))


class Worker:
    """Builds and runs, whole and killed. `left` is what is wrong."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.root: bool = wanted["root"]
        self.base = f"--build-context=busybox=oci-layout://{wanted['base']}"
        self.choose = random.Random(wanted["seed"])
        self.took: dict[str, float] = {}
        self.left: list[str] = []
        self.killed = self.whole = 0
        self.number = 0
        self.own = {os.getpid(), os.getppid(), 1}
        # A pasta that cannot be used, so that the next way out is taken: for root it is the bridge.
        failing = Path("failing")
        failing.mkdir()
        (failing / "pasta").write_text("#!/bin/sh\nexit 3\n")
        (failing / "pasta").chmod(0o755)
        self.path = os.environ["PATH"]

    def command(self, kind: str, argv: list[str], *, whole: bool = False) -> int:
        """A pybuild command in a fork of this process, killed at a random moment or not; its code, -9 if it was."""
        from tests.behaviour.killing import finished, forked

        self.number += 1
        os.environ["PATH"] = f"{os.getcwd()}/failing:{self.path}" if self.number % 3 == 0 else self.path
        kill = not whole and kind in self.took and self.choose.random() < KILLED
        began = time.monotonic()
        pid = forked(argv)
        if kill:
            time.sleep(self.took[kind] * self.choose.random())
            os.kill(pid, signal.SIGKILL)
        code = finished(pid)
        if code == 0:
            took = time.monotonic() - began
            self.took[kind] = (self.took.get(kind, took) + took) / 2
        if code == -signal.SIGKILL and kill:
            self.killed += 1
        elif not whole:
            self.whole += 1
        return code

    def check(self, what: str, code: int) -> None:
        """That a command did well or was killed, and that all it started has ended or ends."""
        if code not in (0, -signal.SIGKILL):
            self.left.append(f"{what} ends with {code}: {Path('log').read_text()[-1500:]}")
        Path("log").unlink(missing_ok=True)
        if (running := self.running(self.others)) != []:
            self.left.append(f"{what} ({code}) leaves {running}")

    def running(self, look: Callable[[], list[str]]) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        while (found := look()) and time.monotonic() < deadline:
            time.sleep(0.005)
        return found

    def others(self) -> list[str]:
        """The command lines of all processes of the machine but this one and those that started it."""
        out = []
        for path in Path("/proc").glob("[0-9]*"):
            if int(path.name) not in self.own:
                try:
                    state = (path / "stat").read_text().rpartition(")")[2].split()[0]
                    line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                out.append(f"{path.name} {state} {line[:200]}")
        return out

    def digest(self, network: str, *options: str, whole: bool = False) -> str:
        """Build; the image's digest, or nothing where it was killed."""
        Path("iid").unlink(missing_ok=True)
        kind = "default" if network == "isolated" else network  # which is the isolated one
        argv = ["build", "-q", self.base, f"--network={kind}", "--iidfile=iid", "-t", "box", *options, "."]
        code = self.command("build", argv, whole=whole)
        self.check(f"build {self.number}", code)
        return Path("iid").read_text() if code == 0 else ""

    def run(self, network: str, *, limited: bool) -> None:
        """A run in the foreground."""
        limits = ["--memory=64m", "--pids-limit=50"] if self.root and limited else []
        script = "sleep 300 & (setsid sleep 300 &); echo x > /x; head -c 100000 /dev/zero > /tmp/y; sleep 0.02"
        code = self.command("run", ["run", f"--network={network}", *limits, "box", "sh", "-c", script])
        self.check(f"run {self.number}", code)

    def detached(self, network: str) -> None:
        """A container in the background, whose start, stop or removal may be killed."""
        ports = ["-p", "127.0.0.1:0:80"] if network == "isolated" else []
        argv = ["run", "-d", "--name=web", f"--network={network}", *ports, "box", "sh", "-c", "sleep 300 & sleep 300"]
        code = self.command("run -d", argv)
        if code not in (0, -signal.SIGKILL):
            self.left.append(f"run -d ends with {code}: {Path('log').read_text()[-1500:]}")
        if code == 0:
            if self.choose.random() < KILLED:
                for path in Path("/proc").glob("[0-9]*"):
                    if int(path.name) not in self.own and self.choose.random() < 0.5:
                        try:
                            os.kill(int(path.name), signal.SIGKILL)
                        except OSError:
                            continue
            else:
                self.command("exec", ["exec", "web", "sh", "-c", "sleep 0.01"])
        self.command("rm", ["rm", "-f", "web"])
        self.command("rm again", ["rm", "-f", "web"], whole=True)
        self.check(f"container {self.number}", 0)
        # A supervisor that lost who started it may make the container after all, and leave it as one that has ended.
        code = self.command("rm at last", ["rm", "-f", "web"], whole=True)
        if code and "there is no container" not in (said := Path("log").read_text()):
            self.left.append(f"rm fails: {said[-1500:]}")

    def preload(self, *commands: list[str]) -> None:
        """Import here what commands import, so that the forks spend their time on what they do."""
        from tests.behaviour.killing import finished, forked

        for argv in commands:
            if finished(forked(argv, after=lambda: Path("modules").write_text("\n".join(sys.modules)))):
                raise SystemExit(Path("log").read_text())
            for name in Path("modules").read_text().split():
                if name.startswith("buildkit_py") and name != "buildkit_py.__main__":
                    __import__(name)

    def work(self, count: int) -> None:
        self.preload(
            ["build", "-q", self.base, "--network=none", "-t", "box", "."], ["run", "--network=none", "box", "true"]
        )
        clean = self.digest("none", "--no-cache", whole=True)
        for number in range(count):
            network = NETWORKS[number % len(NETWORKS)]
            made = self.digest(network, *(["--no-cache"] if number % 4 else []))
            if made not in ("", clean):
                self.left.append(f"build {self.number} gives {made} instead of {clean}")
            self.run(network, limited=self.number % 2 != 0)
            if number % 5 == 4:
                self.detached(network)
        # What those that were killed had begun goes with the next of its kind.
        self.took.clear()
        if (made := self.digest("isolated", "--no-cache", whole=True)) != clean:
            self.left.append(f"the last build gives {made} instead of {clean}")
        self.run("isolated", limited=True)
        self.check("cache verify", self.command("verify", ["cache", "verify"], whole=True))
        self.check("cache prune", self.command("prune", ["cache", "prune"], whole=True))
        store = Path(os.environ["PYBUILD_HOME"])
        for part in ("work", "inuse", "containers"):
            if (store / part).exists() and os.listdir(store / part):
                self.left.append(f"{part} keeps {os.listdir(store / part)}")


def leave() -> None:
    """One of everything that the census counts."""
    for command in (
        "setsid unshare --net --fork sleep 300 >/dev/null 2>&1 &",
        "ip link add left0 type bridge",
        "ip link set left0 up && ip route add 198.51.100.0/24 dev left0",
        "nft add table inet left",
        "ipcmk --shmem 4096 >/dev/null",
        "mount -t tmpfs left /mnt",
        "touch /var/tmp/left",
    ):
        subprocess.run(command, shell=True, check=True)
    group = sorted(Path("/sys/fs/cgroup").glob("*/cgroup.procs"))[0]
    (group.parent / f"pybuild-{time.time_ns()}-left").mkdir()


def main() -> None:
    """Do what the command line says."""
    mode, text = sys.argv[1:]
    wanted = json.loads(text)
    if mode == "machine":
        return machine(wanted)
    if wanted["leave"]:
        leave()
        print(json.dumps({"left": []}))
        return None
    worker, began = Worker(wanted), time.monotonic()
    worker.work(wanted["count"])
    seconds = round(time.monotonic() - began)
    print(json.dumps({"left": worker.left, "killed": worker.killed, "whole": worker.whole, "seconds": seconds}))
    return None


if __name__ == "__main__":
    main()
