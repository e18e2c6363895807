"""Terminal progress on a real pseudo-terminal: what is drawn, what stays, and that the terminal is given back."""

from __future__ import annotations

import io
import os
import sys

import pexpect
import pytest

from buildkit_py.events import StepOutput, StepQueued, StepStarted
from buildkit_py.report.stream import Stream
from buildkit_py.report.tty import TerminalReporter

SCRIPT = """
import sys, time
from buildkit_py.events import *
from buildkit_py.report.reporter import choose
from tests.report.scripted import FAILED, GOOD, SHELL, failure

which = sys.argv[1]
reporter = choose("auto", sys.stderr)
if which == "cached":
    for event in (StepQueued("s", "[1/1] FROM x"), StepFinished("s", "CACHED"), BuildFinished(True, 0.05, 0, 1)):
        reporter.emit(event)
    print("rich" in sys.modules)
elif which == "running":
    reporter.emit(StepQueued("s", "[1/1] RUN make"))
    reporter.emit(StepStarted("s", 0.0))
    reporter.emit(StepOutput("s", 1, "compiling \\x1b[2J main.c", 0.1))
    reporter.emit(StepProgress("s", "packing", 5_000_000, 10_000_000))
    input()
    reporter.emit(StepFinished("s", "DONE", 2.0))
    reporter.emit(BuildFinished(True, 2.0, 1, 0))
elif which == "failed":
    for event in FAILED:
        reporter.emit(event)
    reporter.failed(failure())
elif which == "shell":
    for event in SHELL[:5]:
        reporter.emit(event)
    input()
    for event in SHELL[5:]:
        reporter.emit(event)
elif which == "interrupted":
    reporter.emit(StepQueued("s", "[1/1] RUN sleep"))
    reporter.emit(StepStarted("s", 0.0))
    print("READY", flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        reporter.close()
print("END", flush=True)
"""

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def draw():
    children = []

    def start(which: str, **env: str) -> pexpect.spawn:
        child = pexpect.spawn(
            sys.executable,
            ["-c", SCRIPT, which],
            encoding="utf-8",
            timeout=60,
            dimensions=(24, 80),
            env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", **env},
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def test_a_cached_build_is_shown_without_rich(draw):
    child = draw("cached")
    child.expect("END")
    assert "FROM x  CACHED" in child.before
    assert "built in 0.1s: 0 ran, 1 cached" in child.before
    assert "False" in child.before
    assert HIDE not in child.before


def test_a_running_step_shows_its_last_line_and_then_a_line_of_its_own(draw):
    child = draw("running")
    child.expect("packing 5MB/10MB")
    child.expect_exact("compiling \\x1b[2J main.c")
    child.expect("0/1 steps")
    child.sendline("")
    child.expect("END")
    assert "2.0s" in child.before
    assert child.before.rindex(SHOW) < child.before.index("built in 2.0s")
    child.expect(pexpect.EOF)


def test_no_colours_when_none_are_wanted(draw):
    child = draw("running", NO_COLOR="1")
    child.expect("0/1 steps")
    child.sendline("")
    child.expect("END")
    assert "\x1b[32m" not in child.before
    assert "\x1b[36m" not in child.before


def test_a_failure_ends_with_the_message(draw):
    child = draw("failed")
    child.expect("END")
    text = child.before.replace("\r\n", "\n")
    assert text.rindex("no luck") < text.rindex("Buildfile:4:1: `RUN false` ended with exit code 1")
    assert text.rindex(SHOW) < text.rindex("no luck")
    assert "RUN false  RETRY 2/2: exit code 1" in text


def test_nothing_is_drawn_while_a_shell_is_open(draw):
    child = draw("shell", NO_COLOR="1")
    child.expect("end the build\r\n")
    text = child.before
    assert text.count(HIDE) == text.count(SHOW) == 1
    assert text.index(SHOW) < text.index("------") < text.index("ended with exit code 1")
    child.sendline("typed in it")
    child.expect("END")
    assert HIDE not in child.before
    text = child.before.replace("\r\n", "\n")
    assert "\nno luck\\x1b[2J again\n" in text
    assert text.index("again") < text.index("ended with exit code 2") < text.index("RUN false  0.0s")


def test_ctrl_c_gives_the_cursor_back(draw):
    child = draw("interrupted")
    child.expect("READY")
    child.expect("RUN sleep")
    child.sendintr()
    child.expect("END")
    assert SHOW in child.before


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (20, 5), (10, 3)])
def test_the_drawing_never_grows_past_the_terminal(width, height):
    reporter = TerminalReporter(Stream(io.StringIO()), lambda: 0.0)
    for n in range(100):
        reporter.emit(StepQueued(f"s{n}", f"[{n}/100] RUN " + "x" * 300))
        # Not through `emit`, which would begin to draw: what is drawn is asked for directly.
        reporter.take(StepStarted(f"s{n}", 0.0))
        for _ in range(20):
            reporter.take(StepOutput(f"s{n}", 1, "y" * 300, 0.1))
    lines = reporter.view(width, height).plain.split("\n")
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    assert "0/100 steps" in lines[-1][:width] or width < 20
