"""The health checks of a running container, from its start to its end: one at a time, beside its own command.

A check is a process of the container and a child of its supervisor, which goes on with its own work meanwhile: it is
told by the descriptors in `fds` and the time in `due` when there is something to do here.
"""

from __future__ import annotations

import os
import time

from buildkit_py.errors import PybuildError
from buildkit_py.runner.health import MOST_OUTPUT, NO_END, Health, kept_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.runner.health import Check
    from buildkit_py.sandbox.launch import Sandbox

_PIECE = 1 << 16
# How much of a check's output is read at a time, so that one that never stops writing keeps nobody from his work.
_PIECES = 16
_SIGKILL = 9
_KILLED = 128 + _SIGKILL
# Seconds in which a container is seen to have ended whose end killed the check.
_DOUBT = 1.0


class Checks:
    """`start(stdout)` starts the command of `check` in the container, and raises `SandboxError`; `heard` hears how the
    container is whenever that has changed. Times are of `clock`, in seconds.
    """

    def __init__(
        self,
        check: Check,
        start: Callable[[int], Sandbox],
        heard: Callable[[Health], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._start = start
        self._heard = heard
        self._clock = clock
        self._born = clock()
        self._health = Health()
        self._running: Sandbox | None = None
        self._began = 0.0
        self._late = False
        self._reader = -1
        self._output = b""
        self._doubtful: str | None = None
        self.due = self._born + self._health.pause(check, 0.0)

    @property
    def fds(self) -> tuple[int, ...]:
        """What is to be watched: what the check that runs writes, and its end."""
        if self._running is None:
            return ()
        return (self._running.pidfd, self._reader) if self._reader >= 0 else (self._running.pidfd,)

    def step(self, ready: frozenset[int]) -> None:
        """Do what there is to do: `ready` are those of `fds` that are, and the time may have come."""
        running = self._running
        if running is None:
            if self._clock() < self.due:
                return
            if self._doubtful is not None:
                self._note(_KILLED, self._doubtful)
            else:
                self._begin()
            return
        if self._reader in ready:
            self._read()
        if running.pidfd in ready:
            self._end(running)
        elif self._clock() >= self.due and not self._late:
            self._late = True
            self.due = float("inf")  # its end comes, and is told by its pidfd
            _kill_group(running)

    def close(self) -> None:
        """The container has ended or is about to: end the check that runs, and say nothing of it."""
        running, self._running = self._running, None
        self.due = float("inf")
        if running is not None:
            _kill_group(running)
            _code(running)
            self._close_reader()

    def _begin(self) -> None:
        self._began, self._late, self._output = self._clock(), False, b""
        try:
            self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                os.set_blocking(writer, True)
                self._running = self._start(writer)
            finally:
                os.close(writer)
            self.due = self._began + self._check.timeout
        except PybuildError as problem:
            self._note(NO_END, problem.message)
        except OSError as problem:  # neither a pipe nor what else a start wants of this machine
            self._note(NO_END, f"cannot start the check: {os.strerror(problem.errno or 0).lower()}")
        finally:
            if self._running is None:
                self._close_reader()

    def _read(self) -> None:
        for _ in range(_PIECES):
            try:
                piece = os.read(self._reader, _PIECE)
            except BlockingIOError:
                return
            if not piece:
                self._close_reader()
                return
            self._output = (self._output + piece)[-MOST_OUTPUT:]

    def _end(self, running: Sandbox) -> None:
        if self._reader >= 0:
            self._read()  # whoever else has the pipe still open, the check is over
            self._close_reader()
        self._running = None
        code, problem = _code(running)
        output = kept_output(self._output)
        if self._late:
            line = output + "\n" if output and not output.endswith("\n") else output
            self._note(NO_END, f"{line}it was ended after the {self._check.timeout:g}s that it has\n")
        elif code == _KILLED:
            # The kernel kills it with the container, whose own end is told later, and then `close` is called.
            self._doubtful = output
            self.due = self._clock() + _DOUBT
        else:
            self._note(code, problem or output)

    def _note(self, code: int, output: str) -> None:
        before, now, self._doubtful = self._health, self._clock(), None
        self._health = before.after(self._check, code, output, self._began - self._born)
        self.due = now + self._health.pause(self._check, now - self._born)
        if self._health != before:
            self._heard(self._health)

    def _close_reader(self) -> None:
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1


def _kill_group(check: Sandbox) -> None:
    """Kill a check with what it started: it leads a session of its own, whose number is its own until it is reaped."""
    check.kill(_SIGKILL)
    try:
        os.killpg(check.pid, _SIGKILL)
    except OSError:
        pass  # nobody is left, or it has not come to a session yet, and is dead by the signal before


def _code(check: Sandbox) -> tuple[int, str]:
    """Reap a check: its exit code, and why it could not be started where that is not the command's own doing."""
    try:
        return check.wait().code, ""
    except PybuildError as problem:
        return NO_END, problem.message
