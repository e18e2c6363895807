"""Starts a single sandbox as a child of this process: for a command that has nothing else to do.

The first one can be begun before its spec is known, and so half of it is made by another processor meanwhile.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import marshal
import os
import time

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox.affinity import Others, come_here
from buildkit_py.sandbox.begin import begin
from buildkit_py.sandbox.failure import NO_NAMESPACES, NO_NETWORK, SetupFailure
from buildkit_py.sandbox.host import SIGKILL, Host
from buildkit_py.sandbox.launch import FORWARDED, Sandbox, launch_error
from buildkit_py.sandbox.mount_table import MountTable
from buildkit_py.sandbox.pidfds import has_ended
from buildkit_py.sandbox.request import USUAL, Stdio, in_memory, send
from buildkit_py.sandbox.unsignalled import Unsignalled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildkit_py.sandbox.network.plan import Plan
    from buildkit_py.sandbox.network.pool import Namespace, Pool
    from buildkit_py.sandbox.spec import Exit, Outline, SandboxSpec


# Seconds that threads get to end in; what has more of them is no process for this module.
_PATIENCE = 5.0
_SIGIO = 29
# Networks that are being taken apart; a process that goes on reaps them when it makes the next.
_ending: list[Pool] = []


class Foreground:
    """Starts a sandbox, and the network that it may want. Only for a process with one thread."""

    def __init__(self) -> None:
        _reap()
        self._parent = os.pidfd_open(os.getpid())
        self._host = Host(self._parent)
        self._plan = b""
        self._pool: Pool | None = None
        self._namespace: Namespace | None = None  # of the last sandbox
        self._begun: _Begun | None = None
        self._watched: Sandbox | None = None  # whose network may turn out to have no way out
        self._before: Any = None  # the handler of the signal that tells of it

    def connect(self, plan: Plan, *, hurry: bool = False) -> None:
        """Have the isolated network made, for sandboxes that are going to want it. Raises `SandboxError`.

        With `hurry` the first starts before there is a way out, which takes longer than all the rest. What it sends
        waits for that; where there is none, it is killed, and its `wait` raises what `spawn` would have.
        """
        await_other_threads()
        self._plan = marshal.dumps(plan.wire())
        self._reconnect(awaits=hurry)

    def begin(self, outline: Outline) -> None:
        """Begin the first sandbox, in whose spec all that is in the `outline` is known.

        For the isolated network after `connect`, in a `hurry`. Raises `SandboxError` where the kernel gives no process;
        what else it does not give is told by the sandbox that this one becomes.
        """
        await_other_threads()
        others = Others()
        pipe = (-1, -1)
        try:
            bring = None
            if outline.network == "isolated" and self._pool is not None:
                pipe, bring = os.pipe2(os.O_CLOEXEC), self._pool.begin
                self._namespace = self._pool.expect()
            mounts = MountTable()
            with Unsignalled():
                begun = begin(self._host, outline, connected=pipe, bring=bring, others=others)
                self._begun = _Begun(outline, mounts, *begun, connects=bring is not None)
        except OSError as error:
            raise launch_error(NO_NAMESPACES, error.errno or 0, "") from error
        finally:
            for fd in pipe:
                if fd >= 0:
                    os.close(fd)

    def spawn(
        self, spec: SandboxSpec, *, stdin: int = 0, stdout: int = 1, stderr: int = 2, network: int = -1
    ) -> Sandbox:
        """Start `spec`, once the one before has ended. How much memory it used is not told at its end.

        `network`, if given, is the namespace for one that wants the isolated network, and is closed.

        Raises `SandboxError`.
        """
        await_other_threads()
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        begun, self._begun = self._begun, None
        pipe = (-1, -1)
        try:
            stdio = Stdio(stdin, stdout, stderr)
            started = self._go_on(begun, spec, theirs.fileno(), stdio) if begun is not None else None
            if begun is not None and started is not None:
                pid, pidfd = started
                first = begun.connects
            else:
                if network < 0 and spec.network == "isolated" and self._plan:
                    if (pool := self._connected()).awaits:
                        pipe = os.pipe2(os.O_CLOEXEC)
                    else:
                        network = self._take(pool)
                pid, pidfd = self._spawn(spec, theirs.fileno(), stdio, network, pipe)
                first = pipe[1] >= 0 and self._bring(pid, pipe[1])
        except SetupFailure as failure:
            ours.close()
            raise launch_error(failure.stage, failure.errno, failure.subject) from failure
        except OSError as error:
            ours.close()
            raise launch_error(NO_NAMESPACES, error.errno or 0, "") from error
        finally:
            if begun is not None:
                begun.close()
            theirs.close()
            for fd in (network, *pipe):
                if fd >= 0:
                    os.close(fd)
        if not first:
            return Sandbox(ours, spec, pid=pid, pidfd=pidfd)
        sandbox = _Hurried(ours, spec, pid=pid, pidfd=pidfd, settle=self._settle)
        self._watch(sandbox)
        return sandbox

    def _go_on(self, begun: _Begun, spec: SandboxSpec, channel: int, stdio: Stdio) -> tuple[int, int] | None:
        """As `_Begun.become`. Where it cannot, it has no place in the network any more."""
        started = None
        if not (begun.connects and self._has_failed()):
            started = begun.become(spec, channel, stdio)
        if started is None and begun.connects:  # the first namespace is gone with it
            self._let_go()
            self._reconnect(awaits=True)
        return started

    def _bring(self, pid: int, writer: int) -> bool:
        """Have the network of a sandbox that was just forked be the pool's first; False where it has ended already."""
        assert self._pool is not None
        try:
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        self._namespace = self._pool.expect()
        self._pool.begin(namespace, writer)
        os.close(namespace)
        return True

    def _watch(self, sandbox: Sandbox) -> None:
        """Kill a sandbox as soon as it is known that there is no way out, whatever this process does then.

        By signal-driven input (fcntl(2), `F_SETOWN`): who started it waits for other things, in more than one place.
        """
        import fcntl

        import buildkit_py.sandbox.network.backlog  # noqa: F401  # what `settle` wants: now, when nobody waits for it

        assert self._pool is not None
        self._watched = sandbox
        self._before = _signal.signal(_SIGIO, lambda number, frame: self._hear())
        fcntl.fcntl(self._pool, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._pool, fcntl.F_SETFL, os.O_RDWR | os.O_ASYNC)
        self._hear()  # what was said before

    def _hear(self) -> None:
        sandbox, pool = self._watched, self._pool
        if sandbox is None or pool is None:
            return
        pool.hear()
        if pool.is_open or pool.failed:
            self._look_away()
        if pool.failed and not pool.is_open:
            sandbox.destroy()

    def _look_away(self) -> None:
        import fcntl

        if self._watched is not None and self._pool is not None:
            self._watched = None  # from here on a signal that is under way means nothing
            fcntl.fcntl(self._pool, fcntl.F_SETFL, os.O_RDWR)
            _signal.signal(_SIGIO, _signal.SIG_DFL if self._before is None else self._before)

    def _settle(self, connected: bool) -> None:
        """A sandbox that was in a hurry has ended, and had been connected or not. Raises `SandboxError` if its network
        had no way out.
        """
        self._look_away()
        if self._pool is not None:
            try:
                self._pool.settle(connected=connected)
            except SetupFailure as failure:
                raise launch_error(failure.stage, failure.errno, failure.subject) from failure

    def _spawn(
        self, spec: SandboxSpec, channel: int, stdio: Stdio, network: int, connected: tuple[int, int]
    ) -> tuple[int, int]:
        from buildkit_py.sandbox import init

        return init.spawn(spec, self._host, channel, stdio, network, connected)

    def _reconnect(self, *, awaits: bool = False) -> Pool:
        from buildkit_py.sandbox.network.pool import Pool

        try:
            with Unsignalled():
                self._pool = Pool(self._plan, self._host, awaits=awaits)
        except OSError as error:
            raise launch_error("make the network's namespaces", error.errno or 0, "") from error
        return self._pool

    def _connected(self) -> Pool:
        """The network, made anew if there is none, or the last has failed."""
        pool = self._pool
        if pool is None or self._has_failed():
            self._let_go()
            _reap()
            pool = self._reconnect()
        return pool

    def _has_failed(self) -> bool:
        if self._pool is None:
            return False
        self._pool.hear()
        return self._pool.failed

    def _take(self, pool: Pool) -> int:
        """The descriptor of a namespace for the next sandbox; that of the last is given back. Raises `SetupFailure`."""
        before, self._namespace = self._namespace, None
        if before is not None:
            before.give_back(reusable=False)
        self._namespace = pool.wait()
        return self._namespace.fd

    def close(self) -> None:
        """End the network, without waiting for that. The sandbox has ended before."""
        self._look_away()
        if self._begun is not None:
            self._begun.close()
            self._begun = None
        os.close(self._parent)
        self._let_go()

    def _let_go(self) -> None:
        pool, self._pool, self._namespace = self._pool, None, None
        if pool is not None:
            pool.kill()
            _ending.append(pool)


def _reap() -> None:
    while _ending:
        _ending.pop().wait_for_end()


class _Begun:
    """A process that waits for its spec on the other end of `requests`: which has to have this `outline`.

    `connects`: it waits for its network as well, which is the pool's first.
    """

    def __init__(
        self,
        outline: Outline,
        mounts: MountTable,
        pid: int,
        pidfd: int,
        requests: _socket.socket,
        *,
        connects: bool,
    ) -> None:
        self.pid = pid
        self.connects = connects
        self._outline = outline
        self._mounts = mounts
        self._pidfd = pidfd
        self._requests = requests

    def become(self, spec: SandboxSpec, channel: int, stdio: Stdio) -> tuple[int, int] | None:
        """Have it become the sandbox of a spec: process id and pidfd. None where it cannot. Raises `OSError`."""
        # What was mounted since it may not see.
        if spec.outline != self._outline or self._mounts.has_changed() or has_ended(self._pidfd):
            return None
        if self.connects:
            come_here(self.pid)  # it shares its processor with those that make the network
        memory = in_memory(marshal.dumps(spec.wire()))
        try:
            inp = [stdio.inp] if stdio.inp >= 0 else []
            send(self._requests, USUAL, [channel, memory, *inp, stdio.out, stdio.err])
        except BrokenPipeError:
            return None  # it is ending
        finally:
            os.close(memory)
        pidfd, self._pidfd = self._pidfd, -1
        return self.pid, pidfd

    def close(self) -> None:
        """End it, unless it became a sandbox; returns when it is gone."""
        self._requests.close()
        self._mounts.close()
        if self._pidfd >= 0:
            _signal.pidfd_send_signal(self._pidfd, SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self._pidfd)


class _Hurried(Sandbox):
    """One that was started before there was a way out of its network; `settle` says what became of that."""

    def __init__(
        self, channel: _socket.socket, spec: SandboxSpec, *, pid: int, pidfd: int, settle: Callable[[bool], None]
    ) -> None:
        super().__init__(channel, spec, pid=pid, pidfd=pidfd)
        self._settle = settle

    def wait(self) -> Exit:
        """As of any sandbox. That the network has no way out is the reason for all that comes of it."""
        try:
            ended = super().wait()
        except SandboxError as error:
            if error.message == NO_NETWORK:
                self._settle(self._ready)
            raise
        self._settle(self._ready)
        return ended


def await_other_threads() -> None:
    """Wait until those that have ended for Python are gone for the kernel, too.

    A thread that unpacked a layer may still be on its way out, with a lock of the memory allocator: a child by a
    clone(2) of our own would find it held for ever. (fork(3) takes care of these; it makes no namespaces.)
    """
    end = time.monotonic() + _PATIENCE
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end:
        time.sleep(0.001)


def run_foreground(spec: SandboxSpec) -> Exit:
    """Run `spec` on this process's own standard input, output and error until it ends, passing signals on.

    Only for the main thread of a process with one thread. Raises `SandboxError`.
    """
    running: list[Sandbox] = []
    early: list[int] = []

    def forward(number: int, _: object) -> None:
        if running:
            running[0].kill(number)
        else:
            early.append(number)

    # Before the start: the command may be asked to end as soon as it shows that it runs.
    before = {number: _signal.signal(number, forward) for number in FORWARDED}
    starter = Foreground()
    try:
        running.append(starter.spawn(spec))
        for number in early:
            running[0].kill(number)
        return running[0].wait()
    finally:
        starter.close()
        for number, handler in before.items():
            _signal.signal(number, _signal.SIG_DFL if handler is None else handler)
