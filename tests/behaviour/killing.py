"""A program that kills builds: at chosen moments, or when a chosen line of the store's code is about to run.

    python -m tests.behaviour.killing moments FIRST STEP COUNT -- BUILD-ARGUMENT…
    python -m tests.behaviour.killing lines FIRST STEP -- BUILD-ARGUMENT…

It runs in the directory of a project, with the environment of its builds. Each
build is a fork of this process, in which everything is imported already, and
begins with an empty store. Only the build's own process is killed, as the
kernel does when memory runs out; what it had started must end by itself. This
process is the one that orphans are given to, so none goes unnoticed. After
each kill the store is verified, and the build done again: it gives what an
undisturbed one gives. What is found is printed as JSON: [kills, [what is wrong, …]].
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

# What puts results in place: from what a step wrote to the image's name.
TRACED = (
    "executor/make_layer.py",
    "store/blobs.py",
    "store/images.py",
    "store/layers.py",
    "store/records.py",
    "store/sealed.py",
    "store/snapshots.py",
    "store/work.py",
)
PR_SET_CHILD_SUBREAPER = 36
# Nobody waits this long: it turns a hang into a message.
_PATIENCE = 60.0

Outcome = tuple[str, bytes, str]
Line = tuple[str, int]


def nothing() -> None:
    pass


def forked(argv: list[str], before: Callable[[], object] = nothing, after: Callable[[], object] = nothing) -> int:
    """Start a pybuild command as a child, which calls `before` and `after` around it; its pid."""
    pid = os.fork()
    if pid:
        return pid
    from buildkit_py.cli import first_tier, guard
    from buildkit_py.cli.main import dispatch

    code = 99
    try:
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["pybuild", *argv]
        before()
        answered = first_tier.try_answer(argv)
        code = guard.guarded(dispatch, argv) if answered is None else answered
        sys.settrace(None)
        after()
    except BaseException:
        code = 99
        traceback.print_exc()
    finally:
        guard.leave(code)


def finished(pid: int) -> int:
    """The exit code of a child, minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Killing:
    """Builds of one project. `broken` collects what is wrong."""

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self.store = Path(os.environ["PYBUILD_HOME"])
        self.kills = 0
        self.broken: list[str] = []
        self.seconds = 0.0
        self.preload()
        self.wanted = self.clean()

    def preload(self) -> None:
        """Import here what a build imports, so that the forks spend their time on building."""

        def note() -> None:
            Path("modules").write_text("\n".join(sys.modules))

        if finished(forked(self.argv, after=note)) != 0:
            raise SystemExit(Path("log").read_text())
        for name in Path("modules").read_text().split():
            if name.startswith("buildkit_py") and name != "buildkit_py.__main__":
                __import__(name)
        self.empty()

    def empty(self) -> None:
        """Back to no store and no results."""
        from buildkit_py.store.remove import remove_tree

        if self.store.exists():
            remove_tree(str(self.store))
        for name in ("iid", "x.tar", "log"):
            Path(name).unlink(missing_ok=True)

    def clean(self) -> Outcome:
        """What an undisturbed build into an empty store gives, and how long it takes here."""
        began = time.monotonic()
        code = finished(forked(self.argv))
        self.seconds = time.monotonic() - began
        if code != 0:
            raise SystemExit(Path("log").read_text())
        outcome = self.outcome()
        self.empty()
        return outcome

    def outcome(self) -> Outcome:
        """The digest that was reported, the archive that was written, and the image that the name stands for."""
        names = sorted((self.store / "images").iterdir())
        return Path("iid").read_text(), Path("x.tar").read_bytes(), "".join(one.read_text()[:71] for one in names)

    def at_moment(self, fraction: float) -> None:
        """Kill a build when this part of its time has passed."""
        while True:
            began = time.monotonic()
            pid = forked(self.argv)
            time.sleep(self.seconds * fraction)
            os.kill(pid, signal.SIGKILL)
            code = finished(pid)
            if code == -signal.SIGKILL:
                return self.check(f"killed at {fraction:.3f}")
            if code != 0:
                self.broken.append(f"a build fails by itself: {code}: {Path('log').read_text()[-2000:]}")
                return None
            # The machine is less busy than it was before.
            self.seconds = min(self.seconds * 0.8, time.monotonic() - began)
            self.empty()

    def lines(self) -> list[tuple[Line, int]]:
        """The lines of the traced files that a build runs, in the order in which it first does, and how often."""
        seen: dict[Line, int] = {}

        def count(line: Line) -> None:
            seen[line] = seen.get(line, 0) + 1

        def note() -> None:
            Path("lines").write_text(json.dumps(list(seen.items())))

        if finished(forked(self.argv, lambda: trace(count), note)) != 0:
            raise SystemExit(Path("log").read_text())
        self.empty()
        return [((file, line), times) for (file, line), times in json.loads(Path("lines").read_text())]

    def at_line(self, wanted: Line, time: int) -> None:
        """Kill a build when it is about to run a line for the given time."""
        left = time

        def count(line: Line) -> None:
            nonlocal left
            if line == wanted:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = finished(forked(self.argv, lambda: trace(count)))
        if code == -signal.SIGKILL:
            return self.check(f"killed at {wanted[0]}:{wanted[1]}, time {time}")
        if code != 0:
            self.broken.append(f"the traced build fails: {code}: {Path('log').read_text()[-2000:]}")
        self.empty()
        # How often a line runs depends on which thread finds work already done.
        return self.at_line(wanted, time - 1) if time > 1 else None

    def check(self, when: str) -> None:
        """The invariants after a kill, and the next build."""
        self.kills += 1
        if not self.orphans_end():
            self.broken.append(f"{when}: a process was left")
        if str(self.store) in Path("/proc/self/mountinfo").read_text():
            self.broken.append(f"{when}: a mount was left")
        if self.store.exists():
            if finished(forked(["cache", "verify"])) != 0:
                self.broken.append(f"{when}: damage: {Path('log').read_text()[-2000:]}")
            for name in (self.store / "images").glob("*") if (self.store / "images").exists() else ():
                if name.read_text()[:71] != self.wanted[2]:
                    self.broken.append(f"{when}: the name stands for {name.read_text()!r}")
        if Path("iid").exists() and Path("iid").read_text() != self.wanted[0]:
            self.broken.append(f"{when}: the digest file was torn")
        if Path("x.tar").exists() and Path("x.tar").read_bytes() != self.wanted[1]:
            self.broken.append(f"{when}: the archive was torn")
        code = finished(forked(self.argv))
        if code != 0:
            self.broken.append(f"{when}: the next build ends with {code}: {Path('log').read_text()[-2000:]}")
        elif self.outcome() != self.wanted:
            self.broken.append(f"{when}: the next build gives {self.outcome()[::2]} instead of {self.wanted[::2]}")
        for part in ("work", "inuse"):
            left = os.listdir(self.store / part) if (self.store / part).exists() else []
            # Those that were waiting while another looked are swept by the next command.
            if left and finished(forked(["cache", "prune"])) == 0 and os.listdir(self.store / part):
                self.broken.append(f"{when}: {part} keeps {left}")
        self.empty()

    def orphans_end(self) -> bool:
        """Whether everything that the killed process had started ends by itself."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.001)
            except ChildProcessError:
                return True
        return False


def trace(at: Callable[[Line], object]) -> None:
    """Call `at` before each line of the traced files, in every thread that starts from now on."""
    package = os.path.dirname(os.path.abspath(__import__("buildkit_py").__file__ or ""))
    names = {f"{package}/{name}": name for name in TRACED}

    def on_call(frame: FrameType, _event: str, _argument: Any) -> Any:
        name = names.get(frame.f_code.co_filename)
        if name is None:
            return None

        def on_line(frame: FrameType, event: str, _argument: Any) -> Any:
            if event == "line":
                at((name, frame.f_lineno))
            return on_line

        return on_line

    threading.settrace(on_call)
    sys.settrace(on_call)


def main() -> None:
    """Do what the command line says."""
    mode, *rest = sys.argv[1:]
    split = rest.index("--")
    numbers = [int(text) for text in rest[:split]]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    killing = Killing(rest[split + 1 :])
    if mode == "moments":
        first, step, count = numbers
        choose = random.Random(first)
        for number in range(first, count, step):
            killing.at_moment((number + choose.random()) / count)
    else:
        first, step = numbers
        found = killing.lines()
        for number, (line, times) in enumerate(found[first::step]):
            # The first time is in the first step; later ones have results of earlier steps around them.
            killing.at_line(line, min(times, 1 + number % 3))
    print(json.dumps([killing.kills, killing.broken]))


if __name__ == "__main__":
    main()
