"""Starts a single sandbox as a child of this process: for a command that has nothing else to do."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import marshal
import os
import time

from buildkit_py.sandbox import init
from buildkit_py.sandbox.failure import SetupFailure
from buildkit_py.sandbox.ground import Host
from buildkit_py.sandbox.launch import FORWARDED, Sandbox, launch_error
from buildkit_py.sandbox.program import host_interpreters
from buildkit_py.sandbox.request import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.sandbox.network.plan import Plan
    from buildkit_py.sandbox.network.pool import Namespace, Pool
    from buildkit_py.sandbox.spec import Exit, SandboxSpec


# Seconds that threads get to end in; what has more of them is no process for this module.
_PATIENCE = 5.0
# Networks that are being taken apart; a process that goes on reaps them when it makes the next.
_ending: list[Pool] = []


class Foreground:
    """Starts a sandbox, and the network that it may want. Only for a process with one thread."""

    def __init__(self) -> None:
        while _ending:
            _ending.pop().wait_for_end()
        self._parent = os.pidfd_open(os.getpid())
        self._host = Host(self._parent, host_interpreters())
        self._plan = b""
        self._pool: Pool | None = None
        self._namespace: Namespace | None = None  # of the last sandbox

    def connect(self, plan: Plan) -> None:
        """Have the isolated network made, for a sandbox that is going to want it. Raises `SandboxError`."""
        await_other_threads()
        self._plan = marshal.dumps(plan.wire())
        self._reconnect()

    def spawn(
        self, spec: SandboxSpec, *, stdin: int = 0, stdout: int = 1, stderr: int = 2, network: int = -1
    ) -> Sandbox:
        """Start `spec`, once the one before has ended. How much memory it used is not told at its end.

        `network`, if given, is the namespace for one that wants the isolated network, and is closed.

        Raises `SandboxError`.
        """
        await_other_threads()
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        try:
            if spec.network == "isolated" and self._plan and network < 0:
                network = self._take()
            pid, pidfd = init.spawn(spec, self._host, theirs.fileno(), Stdio(stdin, stdout, stderr), network)
        except SetupFailure as failure:
            ours.close()
            raise launch_error(failure.stage, failure.errno, failure.subject) from failure
        except OSError as error:
            ours.close()
            raise launch_error("make the sandbox's namespaces", error.errno or 0, "") from error
        finally:
            theirs.close()
            if network >= 0:
                os.close(network)
        return Sandbox(ours, spec, pid=pid, pidfd=pidfd)

    def _reconnect(self) -> Pool:
        from buildkit_py.sandbox.network.pool import Pool

        try:
            self._pool = Pool(self._plan, self._host)
        except OSError as error:
            raise launch_error("make the network's namespaces", error.errno or 0, "") from error
        return self._pool

    def _take(self) -> int:
        """The descriptor of a namespace for the next sandbox; of a network made anew, if the last has failed."""
        pool, before = self._pool, self._namespace
        self._namespace = None
        if pool is not None:
            pool.hear()
        if pool is None or pool.failed:
            if pool is not None:
                pool.close()
            pool = self._reconnect()
        elif before is not None:
            before.give_back(reusable=False)
        self._namespace = pool.wait()
        return self._namespace.fd

    def close(self) -> None:
        """End the network, without waiting for that. The sandbox has ended before."""
        os.close(self._parent)
        if self._pool is not None:
            self._pool.kill()
            _ending.append(self._pool)


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
