"""The first process of a sandbox: from a fork of the builder to the exec of the step's command.

It runs in new namespaces, as process 1 of the new one, and does everything
in one fixed order; each part is a function below. Three rules hold:

- What needs this machine is opened before the root changes.
- After that nothing is imported and no library is loaded: the import system
  is switched off first, since a module found now would be the image's code
  running with our rights (CVE-2019-14271's class).
- A failure goes over the channel as (stage, errno, subject) and the process
  ends; nothing is retried, nothing is skipped.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import _socket
import marshal
import os
import select
import sys

from buildkit_py.sandbox import capabilities, passwd, syscalls
from buildkit_py.sandbox.failure import SetupFailure, stage
from buildkit_py.sandbox.mounts import NOSUID, RDONLY, Prepared, Sources, encode, make_tmpfs
from buildkit_py.sandbox.overlay import Overlays
from buildkit_py.sandbox.paths import MountPoints, open_inside
from buildkit_py.sandbox.program import Program, Refused
from buildkit_py.sandbox.ready_filter import ready_filter
from buildkit_py.sandbox.rootfs import mount_root
from buildkit_py.sandbox.system import SystemMounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.sandbox.spec import SandboxSpec

_SIGKILL, _SIG_SETMASK = 9, 2
_TTY_GROUP = 5
_SETUP_FAILED = 125


class Host:
    """What a sandbox inherits from the process that forks it.

    `parent` is a pidfd of that process, `interpreters` see `program`;
    compiled system call filters are kept by capability mask.
    """

    def __init__(self, parent: int, interpreters: tuple[bytes, ...]) -> None:
        self.parent = parent
        self.interpreters = interpreters
        self._filters: dict[int, bytes] = {}

    def ready_filter(self, spec: SandboxSpec) -> bytes | None:
        """The filter for `spec` if there is nothing left to compile; b"" if it wants none. Raises `SetupFailure`."""
        if not spec.seccomp:
            return b""
        if spec.capabilities not in self._filters:
            program = ready_filter(spec.capabilities)
            if program is None:
                return None
            self._filters[spec.capabilities] = program
        return self._filters[spec.capabilities]

    def compile_filter(self, spec: SandboxSpec) -> bytes:
        """The filter for `spec`, kept for the next one like it."""
        from buildkit_py.sandbox.seccomp import compile_filter

        program = self._filters[spec.capabilities] = compile_filter(spec.capabilities)
        return program


class Stdio:
    """The descriptors that become standard input, output and error; input -1 is /dev/null."""

    __slots__ = ("err", "inp", "out")

    def __init__(self, inp: int, out: int, err: int) -> None:
        self.inp = inp
        self.out = out
        self.err = err


def spawn(spec: SandboxSpec, host: Host, channel: int, stdio: Stdio) -> tuple[int, int]:
    """Fork a process that becomes the sandbox: its process id and pidfd. It reports on `channel`.

    Only for processes with one thread. Raises `OSError` if the kernel gives no process or namespace, and
    `SetupFailure` if no filter can be made.
    """
    program = host.ready_filter(spec)
    flags = (
        syscalls.CLONE_NEWNS
        | syscalls.CLONE_NEWPID
        | syscalls.CLONE_NEWUTS
        | syscalls.CLONE_NEWIPC
        | syscalls.CLONE_NEWCGROUP
    )
    if spec.network == "none":
        flags |= syscalls.CLONE_NEWNET
    elif spec.network != "host":
        raise SetupFailure(f"connect to a network: there is no network {spec.network}")
    reader, writer = os.pipe() if program is None else (-1, -1)
    pid, pidfd = syscalls.clone(flags)
    if pid:
        if program is None:  # compile it while the child mounts; it fits into the pipe
            os.close(reader)
            try:
                os.write(writer, host.compile_filter(spec))
            except BrokenPipeError:
                pass  # the child is dead already, which shows when it is waited for
            os.close(writer)
        return pid, pidfd
    try:
        if program is None:
            os.close(writer)
        _enter(spec, host, program, reader, channel, stdio)
    except SetupFailure as failure:
        _report(channel, ("error", failure.stage, failure.errno, failure.subject))
    except OSError as error:
        _report(channel, ("error", "set up the sandbox", error.errno or 0, str(error.filename or "")))
    except BaseException as error:
        _report(channel, ("error", "set up the sandbox: internal error", 0, repr(error)))
    finally:
        os._exit(_SETUP_FAILED)


def _enter(spec: SandboxSpec, host: Host, program: bytes | None, reader: int, channel: int, stdio: Stdio) -> NoReturn:
    if not spec.argv:
        raise SetupFailure("start the command: there is none")
    _become_leader(host)
    if spec.cgroups:
        _join_cgroups(spec.cgroups)
    if spec.network == "none":
        with stage("set the loopback interface up"):
            syscalls.raise_loopback()
    with stage("set the host name", spec.hostname):
        syscalls.sethostname(encode(spec.hostname))

    scaffold = _make_scaffold(spec)
    user_namespace = _in_user_namespace()
    overlays = Overlays(scaffold, user_xattr=user_namespace)
    prepared = _prepare_mounts(spec, scaffold, overlays)
    points = [(item.target, item.directory) for item in prepared]
    points += [(b"/proc", True), (b"/sys", True), (b"/dev", True)]
    root = mount_root(spec.root, scaffold, overlays, points, user_namespace=user_namespace)
    system = SystemMounts(tty_group=_is_mapped(_TTY_GROUP))
    upper = os.open(encode(spec.root.upper), os.O_PATH | os.O_CLOEXEC) if spec.root.upper else -1
    setgroups_allowed = _may_set_groups()

    _switch_off_imports()
    _change_root(root.tree, scaffold)
    places = MountPoints(root.tree, upper)
    system.attach(root.tree, places)
    for path in spec.root.hide:
        system.hide(root.tree, encode(path))
    for item in prepared:
        item.attach(places)

    user = passwd.look_up(root.tree, spec.user)
    master = -1
    if spec.terminal:
        master, stdio = _make_terminal(root.tree, system, user)
    _enter_directory(root.tree, places, encode(spec.cwd))
    if spec.read_only_root:
        with stage("make the root read-only"):
            syscalls.mount_setattr(root.tree, RDONLY)
    _wire(stdio, terminal=spec.terminal)
    command = Program(spec.argv, _environment(spec, user), host.interpreters)
    if program is None:
        program = _read_filter(reader)

    _report(channel, ("ready", root.stubs + places.stubs), master)
    try:
        command.inspect()
    except Refused as refused:
        command.refuse(refused)
    _give_up_rights(spec, user, program, setgroups_allowed)
    _follow_parent(host)
    syscalls.close_from(3, on_exec=True)
    command.start()


def _read_filter(reader: int) -> bytes:
    program = b""
    while chunk := os.read(reader, 1 << 16):
        program += chunk
    if not program:
        raise SetupFailure("filter system calls: the builder did not compile the filter")
    return program


def _become_leader(host: Host) -> None:
    """A session of our own, no signal ignored or blocked, dead when the builder is."""
    _follow_parent(host)
    os.setsid()
    os.umask(0o022)
    for number in range(1, 65):
        # An exec resets handlers, but not what is ignored. 32 and 33 belong to the C library.
        if number not in (32, 33) and _signal.getsignal(number) != _signal.SIG_DFL:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_SIG_SETMASK, ())
    try:
        syscalls.join_new_session_keyring()
    except OSError:
        pass  # no keyrings in this kernel or quota: what a step could do with one, the filter refuses anyway


def _join_cgroups(directories: tuple[str, ...]) -> None:
    """Enter the control groups that limit the sandbox, and see each as the root of its hierarchy."""
    for directory in directories:
        with stage("join the control group", directory):
            fd = os.open(encode(directory) + b"/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            os.write(fd, b"0")
            os.close(fd)
    with stage("make a namespace of control groups"):
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)


def _follow_parent(host: Host) -> None:
    """Ask to be killed with the parent. A change of user clears this, so it is asked for twice."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
    poll = select.poll()
    poll.register(host.parent, select.POLLIN)
    if poll.poll(0):
        os._exit(_SETUP_FAILED)  # it died before the request


def _make_scaffold(spec: SandboxSpec) -> int:
    """A private tmpfs over the old root, where mounts are put together; it goes with the old root."""
    with stage("make the mounts private"):
        syscalls.mount(None, b"/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    size = (8 << 20) + 2 * sum([len(mount.data) for mount in spec.mounts])
    with stage("mount the scaffold"):
        scaffold = make_tmpfs(NOSUID, {b"mode": b"755", b"size": b"%d" % size})
        old = os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        syscalls.move_mount(scaffold, old)
        os.close(old)
    return scaffold


def _prepare_mounts(spec: SandboxSpec, scaffold: int, overlays: Overlays) -> list[Prepared]:
    sources = Sources(scaffold, overlays, spec.root.work)
    out = []
    attributes = 0 if spec.writable_etc else RDONLY
    for path, data in ((b"/etc/hosts", spec.hosts), (b"/etc/resolv.conf", spec.resolv_conf)):
        if data is not None:
            out.append(sources.file(path, data, attributes=attributes))
    out.extend([sources.prepare(mount) for mount in spec.mounts])
    return out


def _switch_off_imports() -> None:
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


def _change_root(tree: int, scaffold: int) -> None:
    with stage("change the root"):
        # From over the old root to somewhere in it: one unmount takes both then, and each waits for all processors.
        syscalls.move_mount(scaffold, syscalls.AT_FDCWD, b"/proc")
        old = os.open(b"/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(tree)
        syscalls.pivot_root(b".", b".")
        os.fchdir(old)
        syscalls.umount(b".", syscalls.MNT_DETACH)  # the old root, which lies over the new one, with all that is in it
        os.chdir(b"/")
        os.close(old)
        # While anything lies over the root, ".." leads there.
        if os.stat(b"/..").st_dev != os.fstat(tree).st_dev or os.stat(b"/..").st_ino != os.fstat(tree).st_ino:
            raise SetupFailure("change the root: the old one is still in sight")


def _make_terminal(root: int, system: SystemMounts, user: passwd.User) -> tuple[int, Stdio]:
    with stage("open a terminal", "/dev/pts/ptmx"):
        master = open_inside(root, b"/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        slave = syscalls.open_pty_peer(master)
        os.fchown(slave, user.uid, -1)
    system.make_console(slave)
    return master, Stdio(slave, slave, slave)


def _enter_directory(root: int, points: MountPoints, path: bytes) -> None:
    with stage("enter the working directory", path):
        if not path.startswith(b"/"):
            raise SetupFailure("enter the working directory: it is not absolute", 0, path.decode("utf-8", "replace"))
        try:
            fd = open_inside(root, path, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            points.make_directory(path)
            fd = open_inside(root, path, os.O_PATH | os.O_DIRECTORY)
        os.fchdir(fd)
        os.close(fd)
        # The kernel answers "(unreachable)/…" for a directory outside the root (CVE-2024-21626).
        if not os.getcwdb().startswith(b"/"):
            raise SetupFailure("enter the working directory: it is outside of the root", 0, os.fsdecode(path))


def _wire(stdio: Stdio, *, terminal: bool) -> None:
    with stage("connect standard input and output"):
        inp = stdio.inp if stdio.inp >= 0 else os.open(b"/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        if terminal:
            syscalls.take_controlling_terminal(inp)
        # First out of the way of 0, 1 and 2, in case they are given in another order.
        sources = [os.dup(fd) for fd in (inp, stdio.out, stdio.err)]
        for number, fd in enumerate(sources):
            os.dup2(fd, number)


def _environment(spec: SandboxSpec, user: passwd.User) -> dict[bytes, bytes]:
    env = {}
    for name, value in spec.env:
        if not name or "=" in name:
            raise SetupFailure("set the environment: not a variable's name", 0, name)
        env[encode(name)] = encode(value)
    env.setdefault(b"HOME", user.home)
    return env


def _give_up_rights(spec: SandboxSpec, user: passwd.User, program: bytes, setgroups_allowed: bool) -> None:
    """In this order: the bounding set needs CAP_SETPCAP, the filter CAP_SYS_ADMIN, the ids CAP_SETUID."""
    with stage("limit the capabilities"):
        capabilities.limit_bounding_set(spec.capabilities)
    if spec.no_new_privileges:
        with stage("set no_new_privs"):
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if program:
        with stage("load the system call filter"):
            syscalls.load_seccomp(program)
    with stage("become the user", spec.user or "root"):
        if setgroups_allowed:
            os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    with stage("limit the capabilities"):
        capabilities.limit_process(spec.capabilities if user.uid == 0 else 0)


def _report(channel: int, message: tuple[object, ...], fd: int = -1) -> None:
    data = marshal.dumps(message)  # type: ignore[arg-type]
    if fd < 0:
        os.write(channel, data)
        return
    sock = _socket.socket(fileno=os.dup(channel))
    sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))])
    sock.close()
    os.close(fd)


def _read_own(name: bytes) -> bytes:
    fd = os.open(b"/proc/self/" + name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)


def _in_user_namespace() -> bool:
    return _read_own(b"uid_map").split() != [b"0", b"0", b"4294967295"]


def _is_mapped(gid: int) -> bool:
    for line in _read_own(b"gid_map").splitlines():
        first, _, count = [int(word) for word in line.split()]
        if first <= gid < first + count:
            return True
    return False


def _may_set_groups() -> bool:
    return _read_own(b"setgroups").strip() == b"allow"
