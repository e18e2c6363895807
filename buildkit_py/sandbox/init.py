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

import _socket
import marshal
import os
import sys

from buildkit_py.sandbox import capabilities, passwd, syscalls
from buildkit_py.sandbox.begin import NAMESPACES, clone
from buildkit_py.sandbox.failure import BECOME, NO_NETWORK, SetupFailure, stage
from buildkit_py.sandbox.ground import Ground
from buildkit_py.sandbox.host import SETUP_FAILED, Host, follow_parent
from buildkit_py.sandbox.mounts import RDONLY, Sources, encode
from buildkit_py.sandbox.paths import MountPoints, open_inside
from buildkit_py.sandbox.program import EVERYTHING, MOUNTS, NOTHING, Program, Refused
from buildkit_py.sandbox.request import Request, Stdio, receive
from buildkit_py.sandbox.rootfs import mount_root
from buildkit_py.sandbox.spec import ROOM_FOR_FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from buildkit_py.sandbox.spec import Outline, SandboxSpec
    from buildkit_py.sandbox.system import SystemMounts

# What the import system was made of, see `switch_off_imports`.
_put_aside: list[object] = []


def spawn(
    spec: SandboxSpec,
    host: Host,
    channel: int,
    stdio: Stdio,
    network: int = -1,
    connected: tuple[int, int] = (-1, -1),
) -> tuple[int, int]:
    """Fork a process that becomes the sandbox: its process id and pidfd. It reports on `channel`.

    `network` is the network namespace of a spec that wants the isolated one. Without it that is a new one, whose
    interface somebody else makes (`Pool.begin`): `connected` are both ends of the pipe that says so. Only for processes
    with one thread. Raises `OSError` if the kernel gives no process or namespace, and `SetupFailure` if no filter can
    be made.
    """
    program = host.ready_filter(spec.capabilities) if spec.seccomp and not spec.runtime else b""
    flags = NAMESPACES
    if spec.runtime:
        # Loaded only now: it is for few, and what it needs of this machine is all opened before the root changes.
        from buildkit_py.sandbox.oci import hand_over as other

        flags = other.NAMESPACES
    if spec.network == "none" or (spec.network == "isolated" and connected[0] >= 0):
        flags |= syscalls.CLONE_NEWNET
    elif spec.network != "host" and network < 0:
        raise SetupFailure(f"connect to a network: there is no network {spec.network}")
    reader, writer = os.pipe() if program is None else (-1, -1)
    joined, pid, pidfd = clone(flags, () if spec.runtime else spec.cgroups)
    if pid:
        if program is None:  # compile it while the child mounts; it fits into the pipe
            os.close(reader)
            try:
                os.write(writer, host.compile_filter(spec.capabilities))
            except BrokenPipeError:
                pass  # the child is dead already, which shows when it is waited for
            os.close(writer)
        return pid, pidfd

    def enter() -> NoReturn:
        if program is None:
            os.close(writer)
        if connected[1] >= 0:
            os.close(connected[1])  # or this process would wait for itself
        _join_network(network)
        if spec.runtime:
            _set_up_loopback(spec)
            _await_network(connected[0])
            other.hand_over(spec, host, channel, stdio)
        size, insecure = spec.file_bytes, spec.insecure
        ground = Ground(host, size=size, cgroups=spec.cgroups, joined=joined, insecure=insecure, shm=spec.shm)
        _enter(spec, host, ground, program, reader, channel, stdio, connected[0])

    report_failure(enter, channel)


def become_the_next(
    host: Host, outline: Outline, requests: _socket.socket, network: int, connected: int, joined: str
) -> None:
    """Lay the ground of a sandbox, wait for its spec, and become it: for the child of `begin`, where all is said."""
    ground, failure = None, None
    try:
        _join_network(network)
        ground = Ground(host, size=ROOM_FOR_FILES, waits=True, cgroups=outline.cgroups, joined=joined, shm=outline.shm)
        if host.ready_filter(outline.capabilities) is None:
            host.compile_filter(outline.capabilities)
    except (SetupFailure, OSError) as problem:
        failure = problem
    _, descriptors = receive(requests)
    if not descriptors:
        return  # nobody wants it any more
    request = Request(descriptors)

    def enter() -> NoReturn:
        if ground is None:
            raise failure or SetupFailure("set up the sandbox")
        spec = request.spec()
        ground.settle()
        program = host.ready_filter(spec.capabilities) if spec.seccomp else b""
        _enter(spec, host, ground, program, -1, request.channel, request.stdio, connected)

    report_failure(enter, request.channel)


def report_failure(enter: Callable[[], NoReturn], channel: int) -> NoReturn:
    """Become the command, or say on the channel why that cannot be, and end."""
    try:
        enter()
    except SetupFailure as failure:
        report(channel, ("error", failure.stage, failure.errno, failure.subject))
    except OSError as error:
        report(channel, ("error", "set up the sandbox", error.errno or 0, str(error.filename or "")))
    except BaseException as error:
        report(channel, ("error", "set up the sandbox: internal error", 0, repr(error)))
    finally:
        os._exit(SETUP_FAILED)


def _enter(
    spec: SandboxSpec,
    host: Host,
    ground: Ground,
    program: bytes | None,
    reader: int,
    channel: int,
    stdio: Stdio,
    connected: int = -1,
) -> NoReturn:
    if not spec.argv:
        raise SetupFailure("start the command: there is none")
    _set_up_loopback(spec)
    if spec.open_ports and spec.network != "host":
        ground.open_ports()
    with stage("set the host name", spec.hostname):
        syscalls.sethostname(encode(spec.hostname))

    prepared = Sources(ground.scaffold, ground.overlays, spec.root.work).all(spec)
    points = [(item.target, item.directory) for item in prepared]
    points += [(b"/proc", True), (b"/sys", True), (b"/dev", True)]
    root = mount_root(
        spec.root,
        ground.scaffold,
        ground.overlays,
        points,
        user_namespace=ground.user_namespace,
        devices=spec.insecure,
    )
    upper = os.open(encode(spec.root.upper), os.O_PATH | os.O_CLOEXEC) if spec.root.upper else -1
    places = MountPoints(root.tree, upper)
    ground.system.attach(places)

    switch_off_imports()
    _change_root(root.tree, ground.scaffold)
    for path in spec.root.hide:
        ground.system.hide(root.tree, encode(path))
    for item in prepared:
        item.attach(places)

    user = passwd.look_up(root.tree, spec.user)
    master = -1
    if spec.terminal:
        master, stdio = _make_terminal(root.tree, ground.system, spec, user)
    places.make_missing(spec.directories)
    _enter_directory(root.tree, places, encode(spec.cwd))
    if spec.read_only_root:
        with stage("make the root read-only"):
            syscalls.mount_setattr(root.tree, RDONLY)
    wire(stdio, terminal=spec.terminal, owner=user.uid)
    changing = MOUNTS if any(mount.kind == "bind" for mount in spec.mounts) else NOTHING
    if spec.root.host:
        changing = EVERYTHING
    command = Program(
        spec.argv,
        environment(spec, user),
        host.interpreters,
        changing=changing,
        tell=lambda code, why: report(channel, ("refused", code, why)),
    )
    if program is None:
        program = _read_filter(reader)
    _await_network(connected)

    report(channel, ("ready", root.stubs + places.stubs), master)
    try:
        command.inspect()
    except Refused as refused:
        command.refuse(refused)
    give_up_rights(spec, user, program, ground.setgroups_allowed)
    follow_parent(host)
    syscalls.close_all_but(channel)  # as few as the ulimits may leave: to open the program takes some, too
    set_ulimits(spec.ulimits)
    command.start()


def _join_network(network: int) -> None:
    """Enter a network namespace before anything is mounted: /sys shows that of the process that mounts it."""
    if network >= 0:
        with stage("enter the network"):
            syscalls.setns(network, syscalls.CLONE_NEWNET)
        os.close(network)


def _await_network(connected: int) -> None:
    """Wait for the network's interface, if it is still to come: all else was done meanwhile."""
    if connected >= 0 and not os.read(connected, 1):
        raise SetupFailure(NO_NETWORK)


def _set_up_loopback(spec: SandboxSpec) -> None:
    if spec.network == "none":
        with stage("set the loopback interface up"):
            syscalls.raise_loopback()


def _read_filter(reader: int) -> bytes:
    program = b""
    while chunk := os.read(reader, 1 << 16):
        program += chunk
    if not program:
        raise SetupFailure("filter system calls: the builder did not compile the filter")
    return program


def switch_off_imports() -> None:
    """From now on an import fails: it would run what the image has under that name."""
    # Put aside, not freed: what the finders know of directories lies on 200 pages that are shared with the parent, and
    # each would be copied first.
    _put_aside.extend((sys.path, sys.meta_path, sys.path_hooks, sys.path_importer_cache))
    sys.path, sys.meta_path, sys.path_hooks, sys.path_importer_cache = [], [], [], {}


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


def _make_terminal(root: int, system: SystemMounts, spec: SandboxSpec, user: passwd.User) -> tuple[int, Stdio]:
    master, slave = open_terminal(root, spec, user)
    system.make_console(slave)
    return master, Stdio(slave, slave, slave)


def open_terminal(root: int, spec: SandboxSpec, user: passwd.User) -> tuple[int, int]:
    """Both sides of a new terminal of a root's /dev/pts, as large as the spec says. Raises `SetupFailure`."""
    with stage("open a terminal", "/dev/pts/ptmx"):
        master = open_inside(root, b"/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        slave = syscalls.open_pty_peer(master)
        os.fchown(slave, user.uid, -1)
        if all(spec.screen):
            # Before the command is there: what it asks for first is the size.
            syscalls.set_terminal_size(slave, *spec.screen)
    return master, slave


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


def wire(stdio: Stdio, *, terminal: bool, owner: int = -1) -> None:
    """Make these descriptors standard input, output and error. Raises `SetupFailure`.

    Pipes become the user's `owner`, who may open them by name then (`/dev/stdout`): runc's `fixStdioPermissions`.
    """
    with stage("connect standard input and output"):
        inp = stdio.inp if stdio.inp >= 0 else os.open(b"/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        if terminal:
            syscalls.take_controlling_terminal(inp)
        # First out of the way of 0, 1 and 2, in case they are given in another order.
        sources = [os.dup(fd) for fd in (inp, stdio.out, stdio.err)]
        for number, fd in enumerate(sources):
            os.dup2(fd, number)
            _give_pipe(number, owner)


def _give_pipe(fd: int, owner: int) -> None:
    status = os.fstat(fd)
    if status.st_mode & 0o170000 == 0o010000 and owner not in (-1, status.st_uid):
        try:
            os.fchown(fd, owner, -1)
        except OSError:
            pass  # one that came from elsewhere, of an owner who does not exist here


def environment(spec: SandboxSpec, user: passwd.User) -> dict[bytes, bytes]:
    """The command's variables. Raises `SetupFailure` for a name that is none."""
    env = {}
    for name, value in spec.env:
        if not name or "=" in name:
            raise SetupFailure("set the environment: not a variable's name", 0, name)
        if "\0" in value:  # which is not shown: it may be a secret
            raise SetupFailure("set the environment: a value has a NUL character", 0, name)
        env[encode(name)] = encode(value)
    env.setdefault(b"HOME", user.home)
    return env


def give_up_rights(spec: SandboxSpec, user: passwd.User, program: bytes, setgroups_allowed: bool) -> None:
    """In this order: the bounding set needs CAP_SETPCAP, the filter CAP_SYS_ADMIN, the ids CAP_SETUID."""
    with stage("limit the capabilities"):
        capabilities.limit_bounding_set(spec.capabilities)
    if spec.no_new_privileges:
        with stage("set no_new_privs"):
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if program:
        with stage("load the system call filter"):
            syscalls.load_seccomp(program)
    with stage(BECOME, spec.user or "root"):
        if setgroups_allowed:
            os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    with stage("limit the capabilities"):
        capabilities.limit_process(spec.capabilities if user.uid == 0 else 0)


def set_ulimits(ulimits: tuple[tuple[str, int, int, int], ...]) -> None:
    """Hold this process to resource limits, last of all: they might not suffice for what sets up the sandbox.

    Root could raise a hard limit, and does not: what holds pybuild holds what it runs. Raises `SetupFailure`.
    """
    for name, number, soft, hard in ulimits:
        with stage("set the ulimit", name):
            refuse_higher(name, number, hard)
            syscalls.setrlimit(number, soft, hard)


def refuse_higher(name: str, number: int, hard: int) -> None:
    """Raises `SetupFailure` for a hard limit above this process's own, `OSError` where the kernel has no such limit."""
    highest = syscalls.getrlimit(number)[1]
    if hard > highest:
        raise SetupFailure(f"set the ulimit {name}: no more than the hard limit here, {highest}")


def report(channel: int, message: tuple[object, ...], fd: int = -1) -> None:
    """Tell the builder's side; `fd` goes along, and is closed here."""
    data = marshal.dumps(message)  # type: ignore[arg-type]
    if fd < 0:
        os.write(channel, data)
        return
    sock = _socket.socket(fileno=channel)  # no copy: what `fd` is of is there, whether there may be one more or not
    try:
        sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))])
    finally:
        sock.detach()
    os.close(fd)
