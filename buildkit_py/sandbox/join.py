"""Joining a sandbox: another command in the namespaces of one that runs, with the rights that its own command has.

A process that entered the namespaces forks the one that becomes the command,
which is then a child of the caller (CLONE_PARENT, clone(2)) and a process of
the sandbox's pid namespace. Those that run in there must not get at it while
it still has this machine's interpreter open (CVE-2019-5736): it is not
dumpable (PR_SET_DUMPABLE, ptrace(2)) until the exec.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import marshal
import os
import sys

from buildkit_py.sandbox import passwd, syscalls
from buildkit_py.sandbox.failure import SetupFailure, stage
from buildkit_py.sandbox.ground import join_cgroups
from buildkit_py.sandbox.host import SIG_SETMASK, Host, follow_parent
from buildkit_py.sandbox.init import (
    environment,
    give_up_rights,
    open_terminal,
    report,
    report_failure,
    set_ulimits,
    switch_off_imports,
    wire,
)
from buildkit_py.sandbox.launch import NO_DESCRIPTOR, START, Sandbox, abandon, launch_error
from buildkit_py.sandbox.mounts import encode
from buildkit_py.sandbox.paths import open_inside
from buildkit_py.sandbox.pidfds import is_elsewhere
from buildkit_py.sandbox.program import EVERYTHING, Program, Refused
from buildkit_py.sandbox.request import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.sandbox.spec import SandboxSpec

_LARGEST = 1 << 12
_NAMESPACES = (
    ("user", syscalls.CLONE_NEWUSER),
    ("mnt", syscalls.CLONE_NEWNS),
    ("pid", syscalls.CLONE_NEWPID),
    ("uts", syscalls.CLONE_NEWUTS),
    ("ipc", syscalls.CLONE_NEWIPC),
    ("cgroup", syscalls.CLONE_NEWCGROUP),
    ("net", syscalls.CLONE_NEWNET),
)


class Joiner:
    """Starts commands in the sandbox whose first process the pidfd is of. Only for a process with one thread.

    `host` is what they inherit from this process; one that is made here is let go of by `close`. Raises `SandboxError`.
    """

    def __init__(self, pidfd: int, host: Host | None = None) -> None:
        self._target = pidfd
        if host is None:
            try:
                host = Host(os.pidfd_open(os.getpid()))
            except OSError as error:
                raise launch_error(START, error.errno or 0, "") from error
        self._host = host
        host.look_around()

    def spawn(self, spec: SandboxSpec, *, stdin: int = 0, stdout: int = 1, stderr: int = 2) -> Sandbox:
        """Start the command of a spec, of which only what a command is counts: not its files and network.

        Raises `SandboxError`.
        """
        try:
            ours, theirs = _channel()
            try:
                self._fork(spec, theirs.fileno(), theirs.fileno(), Stdio(stdin, stdout, stderr))
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
        except SetupFailure as failure:
            raise launch_error(failure.stage, failure.errno, failure.subject) from failure
        sandbox = Sandbox(ours, spec, stays=True)
        sandbox.await_start()
        return sandbox

    def begin(self, spec: SandboxSpec, channel: int, stdio: Stdio) -> tuple[int, int]:
        """As `spawn`, for who only looks after the process: its number and pidfd; the rest is said on the channel.

        Raises `SetupFailure` where there is no process.
        """
        ours, theirs = _channel()
        try:
            self._fork(spec, theirs.fileno(), channel, stdio)
            theirs.close()
            data, ancillary, _, _ = ours.recvmsg(_LARGEST, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        finally:
            theirs.close()
            ours.close()
        match marshal.loads(data) if data else ():
            case ("pid", pid) if ancillary:
                return pid, int.from_bytes(ancillary[0][2], sys.byteorder)
            case ("pid", pid):
                abandon(pid)
                raise SetupFailure(*NO_DESCRIPTOR)
            case ("error", what, errno, subject):
                raise SetupFailure(what, errno, subject)
        raise SetupFailure("enter the container: it has ended")

    def _fork(self, spec: SandboxSpec, teller: int, channel: int, stdio: Stdio) -> None:
        """Have the command's process made: `teller` hears of that, `channel` of what becomes of it.

        Raises `SetupFailure`.
        """
        program = self._host.ready_filter(spec.capabilities) if spec.seccomp else b""
        if program is None:
            program = self._host.compile_filter(spec.capabilities)
        with stage(START):
            between = os.fork()
        if between == 0:
            report_failure(lambda: self._enter(spec, program, teller, channel, stdio), teller)
        os.waitpid(between, 0)

    def close(self) -> None:
        """Needed no more."""
        os.close(self._host.parent)

    def _enter(self, spec: SandboxSpec, program: bytes, teller: int, channel: int, stdio: Stdio) -> NoReturn:
        """In a process between: enter, and fork the command."""
        with stage("look at the container's namespaces"):
            flags = _other_namespaces(self._target)
        switch_off_imports()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        join_cgroups(spec.cgroups)
        with stage("enter the container"):
            syscalls.setns(self._target, flags)
        root = os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        with stage(START):
            pid, pidfd = syscalls.clone(syscalls.CLONE_PARENT)
        if pid:
            report(teller, ("pid", pid), pidfd)
            os._exit(0)
        report_failure(lambda: self._become(spec, program, channel, stdio, root), channel)

    def _become(self, spec: SandboxSpec, program: bytes, channel: int, stdio: Stdio, root: int) -> NoReturn:
        follow_parent(self._host)
        os.setsid()
        os.umask(0o022)
        for number in self._host.handled:
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(SIG_SETMASK, ())
        user = passwd.look_up(root, spec.user)
        master = -1
        if spec.terminal:
            master, slave = open_terminal(root, spec, user)
            stdio = Stdio(slave, slave, slave)
        with stage("enter the working directory", spec.cwd):
            directory = open_inside(root, encode(spec.cwd), os.O_PATH | os.O_DIRECTORY)
            os.fchdir(directory)
            # The kernel answers "(unreachable)/…" for a directory outside the root (CVE-2024-21626).
            if not os.getcwdb().startswith(b"/"):
                raise SetupFailure("enter the working directory: it is outside of the root", 0, spec.cwd)
        wire(stdio, terminal=spec.terminal, owner=user.uid)
        command = Program(spec.argv, environment(spec, user), self._host.interpreters, changing=EVERYTHING)
        report(channel, ("ready", []), master)
        try:
            command.inspect()
        except Refused as refused:
            command.refuse(refused)
        with open(b"/proc/self/setgroups", "rb") as file:
            may_set_groups = file.read().strip() == b"allow"
        give_up_rights(spec, user, program, may_set_groups)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # a change of user may have set it again
        follow_parent(self._host)
        syscalls.close_all_but(channel)  # as few as the ulimits may leave: to open the program takes some, too
        set_ulimits(spec.ulimits)
        command.start()


def _channel() -> tuple[_socket.socket, _socket.socket]:
    """Both ends of a socket of whole messages. Raises `SetupFailure`."""
    with stage(START):
        return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)


def _other_namespaces(pidfd: int) -> int:
    """Which namespaces of a process are not this one's own: the kernel lets nobody enter his own user namespace, and
    an ordinary user no network of the machine, where he is already.
    """
    try:
        return sum([flag for name, flag in _NAMESPACES if is_elsewhere(pidfd, name)])
    except ProcessLookupError:
        raise SetupFailure("enter the container: it has ended") from None
