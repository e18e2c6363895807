"""A supervisor: the one process that has to do with one container for as long as that runs.

It starts the sandbox, writes down what comes out of it and how it fares, does what is asked through the control
socket, and starts the container again where its policy says so. When it dies, so does the sandbox: the kernel sees to
it (`sandbox/ground.py`), and the lock that it held tells everybody.
"""

from __future__ import annotations

import os
import select
import time

from buildkit_py.errors import CommandRefused, PybuildError, SandboxError
from buildkit_py.runner import control
from buildkit_py.runner.checks import Checks
from buildkit_py.runner.container_log import LogWriter
from buildkit_py.runner.health import STARTING, Health
from buildkit_py.runner.restart import FIRST_PAUSE, LONGEST_PAUSE, SETTLED
from buildkit_py.sandbox.launch import piped
from buildkit_py.store.containers import EXITED, RESTARTING, RUNNING, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from buildkit_py.runner.health import Check
    from buildkit_py.runner.restart import Restart
    from buildkit_py.sandbox.launch import Sandbox

_PIECE = 1 << 16
_LONGEST_LOOK = 60_000  # milliseconds
_HELD_LOOK = 10.0  # where a container waits until somebody has read its log
_SIGKILL = 9
# docker's code for a container that could not be started.
NOT_STARTED = 125


class Supervisor:
    """`start(stdout, stderr)` starts the sandbox and raises `SandboxError`; `note` writes a state down.
    `ended` hears of each end with its code, and says why it came to that where the code does not, else "".

    `stop_signal` is what ends it at the request of this process's own SIGTERM, and `patience` how many seconds it gets.
    `beside(sandbox, argv, stdout)` starts a command in it, as which it is checked, and raises `SandboxError`.
    `lifeline()` is a descriptor, asked for after each start: once it is readable the container is ended. `command` is
    what it runs, for people.
    """

    def __init__(
        self,
        directory: str,
        start: Callable[[int, int], Sandbox],
        note: Callable[[State], None],
        restart: Restart,
        *,
        ended: Callable[[int], str] = lambda code: "",
        stop_signal: int = 15,
        patience: float = 10.0,
        check: Check | None,
        beside: Callable[[Sandbox, tuple[str, ...], int], Sandbox],
        lifeline: Callable[[], int] | None = None,
        command: str = "",
    ) -> None:
        self._start = start
        self._note = note
        self._said_at_end = ended
        self._restart = restart
        self._stop_signal = stop_signal
        self._patience = patience
        self._check = check
        self._beside = beside
        self._lifeline = lifeline
        self._command = command
        self._checks: Checks | None = None
        self._state = State()
        self._server = control.listen(directory)
        self._log = LogWriter(directory)
        self._poll = select.poll()
        self._poll.register(self._server.fileno(), select.POLLIN)
        self._clients: dict[int, _socket.socket] = {}
        self._waiting: list[_socket.socket] = []
        self._watching: list[_socket.socket] = []  # those that wait and hear of its health, too
        self._streams: dict[int, int] = {}
        self._held = False  # the streams are not read: somebody has to read the log first
        self._sandbox: Sandbox | None = None
        self._stopping = False
        self._deadline: float | None = None
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll.register(self._woken, select.POLLIN)

    def run(self, ready: Callable[[PybuildError | None], None]) -> State:
        """Run the container until it ends for good; its last state. `ready` hears once whether it started.

        One that does not start the first time has ended for good, whatever its policy is: whoever started it is told.
        """
        has_run = False
        pause = FIRST_PAUSE
        try:
            while True:
                health = Health().values() if self._check is not None else ()
                self._state = self._state.replace(status=RUNNING, started=time.time(), problem="", health=health)
                try:
                    code = self._once(ready)
                    has_run = True
                    self._state = self._state.replace(problem=self._said_at_end(code))
                except PybuildError as problem:
                    code = problem.exit_code if isinstance(problem, CommandRefused) else NOT_STARTED
                    self._said_at_end(code)
                    self._state = self._state.replace(problem=str(problem))
                    ready(problem)
                ended = time.time()
                self._state = state = self._state.replace(status=EXITED, finished=ended, code=code)
                if not has_run or self._stopping or not self._restart.wanted(code, state.restarts):
                    return state
                if ended - state.started >= SETTLED:
                    pause = FIRST_PAUSE
                self._try_note(state.replace(status=RESTARTING))
                if not self._pause(pause):
                    return state
                pause = min(2 * pause, LONGEST_PAUSE)
                self._state = state.replace(restarts=state.restarts + 1)
        finally:
            self._try_note(self._state)
            self._log.close()

    def _try_note(self, state: State) -> None:
        try:
            self._note(state)
        except PybuildError:
            pass  # a full disk is no reason to stop looking after the container; who waits is told by the socket

    def tell(self, state: State) -> None:
        """The last thing: say to those who wait, and to those who are just asking, how it ended."""
        self._deadline = time.monotonic()
        while self._ready():
            pass
        for client in list(self._waiting):
            self._answer(client, "ended", state.code)
        for client in self._clients.values():
            client.close()
        self._server.close()

    def ask_to_stop(self) -> None:
        """From a signal handler: end the container, and do not start it again."""
        os.write(self._waker, b".")

    def _once(self, ready: Callable[[PybuildError | None], None]) -> int:
        try:
            sandbox, out, err = piped(self._start)
        except OSError as problem:  # of what this machine has no more now, it may have some at the next try
            raise SandboxError(f"the container cannot be started: {problem.strerror}") from problem
        self._sandbox = sandbox
        self._streams = {out: 1, err: 2}
        try:
            if sandbox.terminal_fd >= 0:  # it is set up by now, or this raises
                self._streams[sandbox.terminal_fd] = 1
            for fd in self._streams:
                os.set_blocking(fd, False)
                self._poll.register(fd, select.POLLIN)
            if (refusal := sandbox.refusal()) is not None:
                raise CommandRefused(self._command, *refusal)
            self._note(self._state)
            self._begin_checks(sandbox)
            ready(None)
            self._serve(sandbox)
            return sandbox.wait().code
        except BaseException:
            sandbox.put_away()
            raise
        finally:
            self._end_checks()
            self._sandbox, self._deadline = None, None
            self._held = False
            for fd in list(self._streams):
                self._drain(fd)
                self._close(fd)
            self._log.end()

    def _begin_checks(self, sandbox: Sandbox) -> None:
        check = self._check
        if check is not None:
            self._checks = Checks(check, lambda stdout: self._beside(sandbox, check.argv, stdout), self._heard)

    def _end_checks(self) -> None:
        checks, self._checks = self._checks, None
        if checks is not None:
            self._watch(checks.fds, ())
            checks.close()

    def _step_checks(self, checks: Checks, ready: frozenset[int]) -> None:
        before = checks.fds
        checks.step(ready)
        self._watch(before, checks.fds)

    def _watch(self, before: tuple[int, ...], now: tuple[int, ...]) -> None:
        for fd in before:
            if fd not in now:
                self._poll.unregister(fd)
        for fd in now:
            if fd not in before:
                self._poll.register(fd, select.POLLIN)

    def _heard(self, health: Health) -> None:
        """Of the container's health, which is another one now."""
        before = self._health()
        self._state = self._state.replace(health=health.values())
        self._try_note(self._state)
        if health.status != before:
            for client in list(self._watching):
                self._answer(client, "health", health.status)

    def _health(self) -> str:
        """One word for its health, "" where nobody checks it. One that is to be started again is not well yet."""
        if not self._state.health:
            return ""
        return Health(*self._state.health).status if self._sandbox is not None else STARTING

    def _serve(self, sandbox: Sandbox) -> None:
        """Until the sandbox has ended."""
        gone = sandbox.pidfd
        life = self._lifeline() if self._lifeline is not None else -1
        self._poll.register(gone, select.POLLIN)
        if life >= 0:
            self._poll.register(life, select.POLLIN)
        try:
            while True:
                ready = [fd for fd, _ in self._ready()]
                if gone in ready:
                    break
                if life in ready:
                    self._poll.unregister(life)
                    life = -1
                    sandbox.destroy()
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    self._deadline = None
                    sandbox.destroy()
        finally:
            self._poll.unregister(gone)
            if life >= 0:
                self._poll.unregister(life)

    def _pause(self, seconds: float) -> bool:
        """Serve for so long; False where the container was asked to end meanwhile."""
        self._deadline = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < self._deadline:
            self._ready()
        self._deadline = None
        return not self._stopping

    def _ready(self) -> list[tuple[int, int]]:
        """What is ready; output, requests and wake-ups among it are dealt with."""
        self._hold_streams(self._log.is_full())
        found = self._poll.poll(self._longest_look())
        checks = frozenset(self._checks.fds if self._checks is not None else ())
        for fd, _ in found:
            if fd in checks:
                continue  # in the end: until then its number is not another one's
            if fd in self._streams:
                self._read(fd)
            elif fd == self._server.fileno():
                self._accept()
            elif fd in self._clients:
                self._request(self._clients[fd])
            elif fd == self._woken:
                os.read(self._woken, _PIECE)
                self._stop(self._stop_signal, self._patience)
        if self._checks is not None:
            self._step_checks(self._checks, checks.intersection([fd for fd, _ in found]))
        return found

    def _longest_look(self) -> float | None:
        """How many milliseconds nothing is due that is not told by a descriptor; None: for ever."""
        due = self._deadline
        if self._checks is not None:
            due = min(self._checks.due, due) if due is not None else self._checks.due
        if due is None:  # poll(2) takes 24 days at most, and a person may mean "for ever"
            return _HELD_LOOK if self._held else None
        if self._held:
            return min(max(0.0, due - time.monotonic()) * 1000 + 1, _HELD_LOOK)
        return min(max(0.0, due - time.monotonic()) * 1000 + 1, _LONGEST_LOOK)

    def _hold_streams(self, held: bool) -> None:
        """Leave what the container writes in its pipes for a while, or do not any more."""
        if held == self._held:
            return
        self._held = held
        self._watch(tuple(self._streams) if held else (), () if held else tuple(self._streams))

    def _read(self, fd: int) -> bool:
        """Take what a stream has; whether there may be more."""
        try:
            piece = os.read(fd, _PIECE)
        except BlockingIOError:
            return False
        except OSError:  # a terminal whose other side is closed
            piece = b""
        if not piece:
            self._close(fd)
            return False
        self._log.write(self._streams[fd], piece)
        return True

    def _drain(self, fd: int) -> None:
        while fd in self._streams and self._read(fd):
            pass

    def _close(self, fd: int) -> None:
        if self._streams.pop(fd, None) is not None:
            try:
                self._poll.unregister(fd)
            except KeyError:
                pass
            os.close(fd)

    def _accept(self) -> None:
        import _socket

        try:
            fd, _ = self._server._accept()  # type: ignore[attr-defined]  # as `socket.accept` does it
        except OSError:
            return
        client = _socket.socket(fileno=fd)
        client.setblocking(False)
        self._clients[fd] = client
        self._poll.register(fd, select.POLLIN)

    def _request(self, client: _socket.socket) -> None:
        match control.receive(client):
            case ("kill", int(number)):
                if number in (_SIGKILL, self._stop_signal):
                    self._stopping = True  # as docker has it: who kills a container does not want it back
                if self._sandbox is not None:
                    self._sandbox.kill(number)
                self._answer(client, "ok")
            case ("stop", int(number), int(seconds) | float(seconds)):
                self._waiting.append(client)
                self._answer(client, "ok")
                self._stop(number or self._stop_signal, self._patience if seconds < 0 else seconds)
            case ("join",):
                pidfd = self._sandbox.pidfd if self._sandbox is not None else -1
                self._answer(client, "ok" if pidfd >= 0 else "none", fd=pidfd)
            case ("wait",):
                self._waiting.append(client)
                self._answer(client, "ok")
            case ("health",):
                self._waiting.append(client)
                self._watching.append(client)
                self._answer(client, "health", self._health())
            case _:
                self._forget(client)

    def _stop(self, number: int, seconds: float) -> None:
        self._stopping = True
        self._end_checks()  # what one finds of a container that is ending says nothing
        if self._sandbox is not None:
            self._sandbox.kill(number)
            self._deadline = time.monotonic() + seconds

    def _answer(self, client: _socket.socket, *message: object, fd: int = -1) -> None:
        try:
            control.send(client, *message, fd=fd)
        except OSError:
            self._forget(client)

    def _forget(self, client: _socket.socket) -> None:
        fd = client.fileno()
        if self._clients.pop(fd, None) is not None:
            self._poll.unregister(fd)
        for group in (self._waiting, self._watching):
            if client in group:
                group.remove(client)
        client.close()
