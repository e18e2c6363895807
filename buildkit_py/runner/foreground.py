"""A container in the foreground: its signals, its terminal, and its exit code for the one who waits."""

from __future__ import annotations

import os

from buildkit_py.errors import OutputLost, SandboxError
from buildkit_py.sandbox.launch import FORWARDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from types import FrameType
    from typing import Any, Protocol

    from buildkit_py.sandbox.launch import Sandbox
    from buildkit_py.sandbox.spec import SandboxSpec

    class Start(Protocol):
        """Starts a sandbox: `launch.foreground`, or a launcher's `spawn` where this process has threads."""

        def __call__(self, spec: SandboxSpec, *, stdin: int, stdout: int, stderr: int) -> Sandbox: ...

    class Minder(Protocol):
        """Who has to do with a sandbox while it runs."""

        def to(self, sandbox: Sandbox) -> None:
            """Hear which one it is, once it runs."""
else:
    import _signal

_HANGUP, _INTERRUPT, _TERMINATE, _RESIZED = 1, 2, 15, 28
# Process 1 does not notice a signal that it has no handler for. docker's command line gives up at the third.
_PATIENCE = 3


def run_in_foreground(start: Start, spec: SandboxSpec, minder: Minder, *, interactive: bool) -> int:
    """Run a sandbox on this process's standard streams until it ends; its exit code, 128+n for signal n.

    Raises `SandboxError` where it cannot be set up, and `OutputLost` at its end where what it wrote could not be
    written on. Whatever is raised, the sandbox is killed first.
    """
    from buildkit_py.runner.streams import Streams

    # This machine's /dev/null stays here: the container has its own.
    stdin = 0 if interactive and not spec.terminal and not _is_null(0) else -1
    try:
        streams = Streams(1, 2, stdin)
    except OSError as problem:
        what = os.strerror(problem.errno or 0).lower()
        raise SandboxError(f"cannot connect standard input and output: {what}") from problem
    try:
        if spec.terminal:
            from buildkit_py.runner.terminal import size

            spec = spec.replace(screen=size())
        sandbox = start(spec, stdin=streams.stdin, stdout=streams.out, stderr=streams.err)
        try:
            minder.to(sandbox)
            if spec.terminal:
                _serve_terminal(sandbox, interactive)
            else:
                streams.serve_until(sandbox.started())
            code = sandbox.wait().code
        except BaseException:
            sandbox.destroy()
            raise
    finally:
        streams.close()
    if streams.lost:
        raise OutputLost(streams.lost, code=code)
    return code


def _is_null(fd: int) -> bool:
    try:
        status = os.fstat(fd)
    except OSError:  # closed
        return False
    return status.st_mode & 0o170000 == 0o020000 and status.st_rdev == os.makedev(1, 3)


class Forwarding:
    """Passes on the signals that this process gets, for the length of a `with`.

    Those that come before the sandbox wait for it, those that come after its end mean nothing any more.
    """

    def __init__(self) -> None:
        self._sandbox: Sandbox | None = None
        self._early: list[int] = []
        self._before: dict[int, Any] = {}
        self._asked = 0

    def __enter__(self) -> Forwarding:
        for number in FORWARDED:
            # What is ignored here (`nohup`, a shell's background job) is to stay so for the one inside.
            if _signal.getsignal(number) != _signal.SIG_IGN:
                self._before[number] = _signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            _signal.signal(number, handler)

    def to(self, sandbox: Sandbox) -> None:
        """Name the sandbox that gets them."""
        self._sandbox = sandbox
        while self._early:
            sandbox.kill(self._early.pop(0))

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._sandbox is None:
            self._early.append(number)
            return
        if number in (_INTERRUPT, _TERMINATE):
            self._asked += 1
            if self._asked >= _PATIENCE:
                self._sandbox.destroy()
                return
        self._sandbox.kill(number)


def _serve_terminal(sandbox: Sandbox, interactive: bool) -> None:
    from buildkit_py.runner.terminal import Raw, Resizing, pass_through

    master = sandbox.terminal_fd
    try:
        seen = 0 if os.isatty(0) else 1
        with Resizing(seen, master):
            if interactive:
                with Raw(0):
                    stayed = pass_through(master, 0, 1, sandbox.pidfd)
            else:
                stayed = pass_through(master, -1, 1, sandbox.pidfd)
    finally:
        os.close(master)
    if not stayed:
        sandbox.kill(_HANGUP)
        sandbox.destroy()
