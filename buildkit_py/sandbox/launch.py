"""Starts sandboxes through a fork server: the builder's side.

It imports nothing that a no-op build would have to pay for; the set-up itself
(`init`) is loaded in the fork server, or by `foreground`, which starts one
sandbox without it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import _thread
import marshal
import os
import sys
import time

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.failure import BECOME, GIVE, NO_NAMESPACES, NO_NETWORK
from buildkit_py.sandbox.request import AT, CONNECT, ISOLATED, JOIN, PREPARE, REST, UNUSUAL, USUAL, in_memory, send
from buildkit_py.sandbox.spec import Exit
from buildkit_py.sandbox.unsignalled import Unsignalled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from buildkit_py.sandbox.network.plan import Plan
    from buildkit_py.sandbox.spec import SandboxSpec

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_BOOT = (
    "import os, sys; sys.path.append(sys.argv[1]); from buildkit_py.sandbox.fork_server import serve; "
    "serve(3, int(sys.argv[2])); os._exit(0)"
)
_CONTROL = 3  # the server's end of the socket
_SIG_SETMASK = 2
_SIGKILL = 9
_LARGEST_MESSAGE = 1 << 17
START = "start a process in the container"
"""A stage of the making of a process."""
NO_DESCRIPTOR = (START, 24, "")
"""The stage, errno (EMFILE) and subject of the failure where one is to be abandoned."""
# Signals that a person or a supervisor sends to a foreground command: HUP INT QUIT USR1 USR2 TERM CONT WINCH
FORWARDED = (1, 2, 3, 10, 12, 15, 18, 28)


class Sandbox:
    """One running process tree, whose first process is `pid`. Made by a `spawn` of `Launcher`, `Foreground`, `Joiner`.

    `stays`: it is told which process it is, as by a fork server, and is a child of this one all the same.
    """

    def __init__(
        self, channel: _socket.socket, spec: SandboxSpec, *, pid: int = 0, pidfd: int = -1, stays: bool = False
    ) -> None:
        self._channel = channel
        self._upper = spec.root.upper
        self._runtime = spec.runtime
        self._lock = _thread.allocate_lock()
        self._signalling = _thread.RLock()  # held while the pidfd is used or closed: its number may come again
        self._pidfd = pidfd
        self._owned = pid != 0 or stays  # a child of this very process, not of the fork server
        self._started = time.monotonic()
        self._ready = False
        self._ended = False
        self._stubs: list[tuple[str, bytes, int, int, int]] = []
        self._failure: tuple[str, int, str] | None = None
        self._refusal: tuple[int, str] | None = None
        self._exit: Exit | None = None
        self.pid = pid
        self._terminal = -1

    @property
    def terminal_fd(self) -> int:
        """The builder's side of the sandbox's terminal; the caller closes it. Raises `SandboxError`."""
        self.await_ready()
        return self._terminal

    @property
    def pidfd(self) -> int:
        """A descriptor that becomes readable when the first process has ended; -1 after `wait`."""
        return self._pidfd

    def started(self) -> int:
        """Block until the first process is known, and return its `pidfd`; -1 if there will be none."""
        with self._lock:
            while self._pidfd < 0 and not self._ended:
                self._receive()
        return self._pidfd

    def wait(self) -> Exit:
        """Block until the whole process tree is gone, and take its mount points out of the upper directory.

        Raises `SandboxError` if the command could not be started for a reason
        other than the command itself (those are codes 126 and 127).
        """
        with self._lock:
            while not self._ended:
                self._receive()
            if self._exit is None and self._owned:
                self._exit = _reap(self.pid, self._started)
            self._close()
            stubs, self._stubs = self._stubs, []
        if stubs:
            from buildkit_py.sandbox.paths import remove_stubs
            from buildkit_py.sandbox.userns import overlay_xattr

            remove_stubs(self._upper, stubs, overlay_xattr())
        if self._failure is not None:
            raise launch_error(*self._failure)
        if self._exit is None:
            raise SandboxError("the process that starts sandboxes ended before its sandbox")
        if self._runtime:
            from buildkit_py.sandbox.oci.outcome import outcome

            return outcome(self._exit, self._runtime)
        return self._exit

    def kill(self, signum: int) -> None:
        """Send a signal to the first process; nothing if it has ended.

        It is process 1 of its namespace: what it has no handler for it does not
        notice, except SIGKILL and SIGSTOP.
        """
        with self._signalling:
            if self._pidfd >= 0:
                try:
                    _signal.pidfd_send_signal(self._pidfd, signum)
                except OSError:
                    pass  # it has ended

    def destroy(self) -> None:
        """Kill the whole process tree; `wait` then returns."""
        self.kill(_SIGKILL)

    def put_away(self) -> None:
        """Kill the whole process tree, and return when it is gone: for one of which nothing more is to be known."""
        self.destroy()
        try:
            self.wait()
        except SandboxError:
            pass  # why it could not be started was raised before

    def gets_ready(self) -> bool:
        """Block until all is set up inside, and only the command is to come; whether it is. What failed `wait` says."""
        with self._lock:
            while not self._ready and not self._ended:
                self._receive()
        return self._ready

    def await_ready(self) -> None:
        """As `gets_ready`. Raises `SandboxError`."""
        self.gets_ready()
        if self._failure is not None:
            raise launch_error(*self._failure)

    def refusal(self) -> tuple[int, str] | None:
        """Block until the command has begun, for which None is the answer, or cannot begin: its exit code, and why.

        For a sandbox that is a child of this process: its end of the channel is closed by the exec.
        """
        with self._lock:
            while not self._ended and self._refusal is None:
                self._receive()
        return self._refusal

    def await_start(self) -> None:
        """Block until the process exists or has failed to. Raises `SandboxError` for the latter."""
        with self._lock:
            child = 0
            while self._pidfd < 0 and not self._ended and not child:
                self._receive()
                child = self.pid if self._owned else 0
            if self._pidfd < 0:
                self._close()
                if child:
                    abandon(child)
                    raise launch_error(*NO_DESCRIPTOR)
                raise launch_error(*(self._failure or ("the process that starts sandboxes has ended", 0, "")))

    def _receive(self) -> None:
        try:
            data, ancillary, _, _ = self._channel.recvmsg(
                _LARGEST_MESSAGE, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            data, ancillary = b"", []
        if not data:
            self._ended = True
            if self._exit is None and self._failure is None and not self._owned:
                self.destroy()  # the fork server died: nobody else is left to do it
            return
        fd = int.from_bytes(ancillary[0][2], sys.byteorder) if ancillary else -1
        message: tuple[Any, ...] = marshal.loads(data)
        if message[0] == "pid":
            self.pid, self._pidfd = message[1], fd
        elif message[0] == "ready":
            self._stubs, self._terminal, self._ready = message[1], fd, True
        elif message[0] == "refused":
            self._refusal = message[1:]
        elif message[0] == "error":
            self._failure = message[1:]
        elif message[0] == "exit":
            self._exit = Exit(_code(message[1]), message[2], message[3])
            self._ended = True

    def _close(self) -> None:
        self._channel.close()
        with self._signalling:
            pidfd, self._pidfd = self._pidfd, -1
            if pidfd >= 0:
                os.close(pidfd)


class Launcher:
    """The builder's handle of its fork server. `spawn` may be called by many threads at once."""

    def __init__(self, control: _socket.socket, pid: int) -> None:
        self._control = control
        self._pid = pid
        self._connected = False
        self._ending = False
        self._lock = _thread.allocate_lock()

    @classmethod
    def start(cls) -> Launcher:
        """Start the server and return at once; it gets ready while the builder imports the rest of itself.

        A builder that is young and has one thread forks it, which saves the 7 ms of another interpreter's start;
        for any other it is an interpreter of its own. An ordinary user calls `userns.enter` first.
        """
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        pid = _fork_server(theirs.fileno()) if _thread._count() == 0 else _spawn_server(theirs.fileno())
        theirs.close()
        return cls(ours, pid)

    def spawn(self, spec: SandboxSpec, *, stdin: int = -1, stdout: int, stderr: int) -> Sandbox:
        """Start `spec`. `stdin` -1 is /dev/null; the descriptors stay the caller's. Raises `SandboxError`."""
        kind = USUAL if spec.usual else UNUSUAL
        if spec.network == "isolated":
            kind += ISOLATED + (AT + b"%d" % spec.number if spec.number else b"")
        return self._ask(kind, spec, [], [*([stdin] if stdin >= 0 else []), stdout, stderr])

    def join(self, pidfd: int, spec: SandboxSpec, *, stdout: int, stderr: int) -> Sandbox:
        """Start another command in the sandbox whose first process the pidfd is of; standard input is /dev/null.

        Of the spec only what a command is counts, as for `join.Joiner`. Raises `SandboxError`.
        """
        return self._ask(JOIN, spec, [pidfd], [stdout, stderr])

    def _ask(self, kind: bytes, spec: SandboxSpec, before: list[int], stdio: list[int]) -> Sandbox:
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        memory = in_memory(marshal.dumps(spec.wire()))
        try:
            descriptors = [*before, theirs.fileno(), memory, *stdio]
            send(self._control, kind, descriptors)
        except OSError as error:
            ours.close()
            raise SandboxError("the process that starts sandboxes has ended") from error
        finally:
            os.close(memory)
            theirs.close()
        sandbox = Sandbox(ours, spec)
        sandbox.await_start()
        return sandbox

    def connect(self, plan: Plan) -> None:
        """Have the isolated network made, of which `spawn` then gives a part to each spec that wants it.

        Returns at once, and does nothing the second time.
        """
        with self._lock:
            known, self._connected = self._connected, True
        if known:
            return
        memory = in_memory(marshal.dumps(plan.wire()))
        try:
            send(self._control, CONNECT, [memory])
        except OSError:
            pass  # the server has ended, which `spawn` says
        finally:
            os.close(memory)

    def prepare(self, network: str = "host", count: int = 1) -> None:
        """Have sandboxes begun, up to where their specs count, until so many wait: the next `spawn` of a usual spec
        gets one, and is faster.

        To be called when others on `network` ("host" or "isolated") are going to be wanted, while nobody waits: it
        is half of the work.
        """
        try:
            self._control.send(PREPARE + (ISOLATED if network == "isolated" else b"") + AT + b"%d" % count)
        except OSError:
            pass  # the server has ended, which `spawn` says

    def rest(self) -> None:
        """Say that no sandbox is foreseen: the isolated network is let go of once those that run have ended.

        That takes the kernel a while, for which `close` would wait. If it is wanted after all, it is made anew.
        """
        if not self._connected:
            return
        try:
            self._control.send(REST)
        except OSError:
            pass  # the server has ended, which `spawn` says

    @property
    def is_ending(self) -> bool:
        """Whether no sandbox can be had from this one any more."""
        return self._ending

    def end(self) -> None:
        """Begin what `close` waits for: there is something else to do meanwhile, and no sandbox will be wanted."""
        self._ending = True
        self._control.close()

    def close(self) -> None:
        """End the server and every sandbox that it still runs; returns when they are gone."""
        if self._pid:
            self.end()
            pid, self._pid = self._pid, 0
            os.waitpid(pid, 0)

    def __enter__(self) -> Launcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fork_server(control: int) -> int:
    parent = os.getpid()
    try:
        with Unsignalled():
            pid = os.fork()
            if pid == 0:
                _become_server(control, parent)
    except OSError as error:
        raise SandboxError(f"cannot start a process: {os.strerror(error.errno or 0).lower()}") from error
    return pid


def _become_server(control: int, parent: int) -> NoReturn:
    try:
        os.setsid()  # Ctrl-C in a terminal is the builder's to handle
        for number in _signal.valid_signals():
            if callable(_signal.getsignal(number)):
                _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_SIG_SETMASK, ())
        # Of the builder it keeps standard error, the socket, and what was imported.
        os.dup2(control, _CONTROL)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.closerange(_CONTROL + 1, os.sysconf("SC_OPEN_MAX"))
        from buildkit_py.sandbox.fork_server import serve

        serve(_CONTROL, parent)
    finally:
        os._exit(0)


def _spawn_server(control: int) -> int:
    arguments = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, _PACKAGE_PARENT, str(os.getpid())]
    # The server has none of our variables: nothing of them can get into a sandbox.
    env = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, 2, 1),
        (os.POSIX_SPAWN_DUP2, control, _CONTROL),
    ]
    try:
        # Its own session from its first moment: Ctrl-C in a terminal is the builder's to handle.
        return os.posix_spawn(sys.executable, arguments, env, file_actions=actions, setsid=True, setsigmask=())
    except OSError as error:
        raise SandboxError(f"cannot start the Python interpreter again: {error.strerror}", at=sys.executable) from error


def piped(start: Callable[[int, int], Sandbox]) -> tuple[Sandbox, int, int]:
    """What `start(stdout, stderr)` starts, and the other ends of its two pipes. Raises what that raises."""
    fds: list[int] = []
    try:
        for _ in range(2):
            fds += os.pipe2(os.O_CLOEXEC)
        sandbox = start(fds[1], fds[3])
        return sandbox, fds.pop(0), fds.pop(1)
    finally:
        for fd in fds:
            os.close(fd)


def abandon(child: int) -> None:
    """End a child that came without its pidfd, as there were as many descriptors as there may be.

    Where nobody reaped it, a container would wait for it at its own end, for ever.
    """
    os.kill(child, _SIGKILL)
    os.waitpid(child, 0)


def _reap(pid: int, started: float) -> Exit:
    # Not wait4: its answer's type is of another module, which nobody here wants to load for the memory that was used.
    _, status = os.waitpid(pid, 0)
    return Exit(_code(status), time.monotonic() - started)


def _code(status: int) -> int:
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def launch_error(stage: str, errno: int, subject: str) -> SandboxError:
    """A set-up failure, as `init` or the fork server tells it, in words."""
    message = f"cannot {stage}: {os.strerror(errno).lower()}" if errno else stage
    at = subject if subject.startswith("/") else None
    notes = (f"the kernel says: {subject}",) if subject and errno and at is None else ()
    hint = _HINTS.get((stage, errno), "")
    if stage == BECOME:
        message, notes = f"cannot {stage} `{subject}`: {os.strerror(errno).lower()}", ()
    elif subject and not errno and at is None:
        message += f" ({subject})"
    if errno == 22 and stage.startswith((BECOME, GIVE)):
        hint = _ids_hint()
    return SandboxError(message, at=at, notes=notes, hint=hint)


def _ids_hint() -> str:
    from buildkit_py.sandbox.userns import mapped_ids

    last = mapped_ids() - 1
    if not last:
        return f"only one user id is mapped here; give this user a range in /etc/subuid and /etc/subgid; {_INFO}"
    return f"the ids 0 to {last} are mapped here; give this user a larger range in /etc/subuid and /etc/subgid"


_INFO = "`pybuild info` says what this machine allows"
_HINTS = {
    (NO_NETWORK, 0): "--network=host shares this machine's own; `pybuild info` says what an isolated one needs",
    (NO_NAMESPACES, 1): f"the kernel forbids new namespaces here; {_INFO}",
    (NO_NAMESPACES, 28): "raise the limits: sysctl -a | grep user.max_.*_namespaces",
    (NO_NAMESPACES, 22): f"this kernel lacks a kind of namespace; {_INFO}",
    ("mount /proc", 1): "in a container whose /proc is masked the kernel allows no new one; "
    "start that container with --security-opt systempaths=unconfined, or run as root",
    ("make the mounts private", 1): f"this user's namespaces have no rights, as AppArmor may have it; {_INFO}",
    ("make the mounts private", 13): f"this user's namespaces have no rights, as AppArmor may have it; {_INFO}",
    ("mount", 1): f"the kernel forbids this mount here; {_INFO}",
    ("mount the layers", 1): f"the kernel forbids overlay mounts here; {_INFO}",
    ("mount the layers", 19): "load the overlay file system: modprobe overlay",
    (START, 11): "this user, or the container, has as many processes as it may: `ulimit -u`, `--pids-limit`",
}
