"""Handing a sandbox over: the process that mounts its root, writes the bundle, and becomes crun or runc.

It is process 1 of a pid namespace and in a mount namespace of its own, and is
killed with pybuild. So whatever ends it, the container ends with it, and no
mount is left: the kernel takes both down.

The runtime makes no control group (the machine's are shown to it read-only):
what limits a sandbox was made before, and nobody would be left to remove more. Runtimes rely
on one to keep devices away, and mount the root without `nodev`. So /dev is made
here, and a hook seals the root when the runtime has mounted everything.
"""

from __future__ import annotations

import os
import sys

from buildkit_py.sandbox import passwd, syscalls
from buildkit_py.sandbox.failure import stage
from buildkit_py.sandbox.ground import (
    TTY_GROUP,
    become_leader,
    in_user_namespace,
    is_mapped,
    join_cgroups,
    make_scaffold,
    may_set_groups,
    open_ports,
    set_propagation,
)
from buildkit_py.sandbox.init import environment, refuse_higher, report, wire
from buildkit_py.sandbox.mounts import NODEV, NOEXEC, NOSUID, RDONLY, Prepared, Sources, encode, make_tmpfs
from buildkit_py.sandbox.oci.config import MOUNT_POINTS, BundleMount, Place, refuse_links, runtime_config
from buildkit_py.sandbox.oci.streams import keep_owners, nothing_to_read
from buildkit_py.sandbox.overlay import Overlays
from buildkit_py.sandbox.paths import MountPoints, open_inside
from buildkit_py.sandbox.request import Stdio
from buildkit_py.sandbox.rootfs import mount_root
from buildkit_py.sandbox.system import OLD_NOSUID_NODEV_NOEXEC, make_dev, make_devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.sandbox.host import Host
    from buildkit_py.sandbox.spec import SandboxSpec

NAMESPACES = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID
"""What the process is alone in; the runtime makes the container's own below them."""

_CGROUPS = b"/sys/fs/cgroup"
_PACKAGE_PARENT = __file__.rpartition("/buildkit_py/")[0]
_SEAL = (
    "import sys; sys.path.append(sys.argv[1]); from buildkit_py.sandbox.oci.hand_over import seal; seal(*sys.argv[2:])"
)


def hand_over(spec: SandboxSpec, host: Host, channel: int, stdio: Stdio) -> NoReturn:
    """Become the runtime of `spec.runtime`, in the namespaces of `NAMESPACES`. Raises `SetupFailure`, `OSError`."""
    kind, program, bundle = spec.runtime
    become_leader(host)
    if spec.cgroups:
        join_cgroups(spec.cgroups)
    for name, number, _, hard in spec.ulimits:
        refuse_higher(name, number, hard)
    set_propagation(syscalls.MS_PRIVATE)
    with stage("mount the scaffold"):
        os.mkdir(f"{bundle}/scaffold", 0o700)
    scaffold = make_scaffold(encode(f"{bundle}/scaffold"), sum([len(mount.data) for mount in spec.mounts]))
    overlays = Overlays(scaffold, user_xattr=in_user_namespace())
    prepared = Sources(scaffold, overlays, spec.root.work).all(spec)
    points = [(item.target, item.directory) for item in prepared]
    points += [(b"/" + name, True) for name in MOUNT_POINTS]
    tree = mount_root(spec.root, scaffold, overlays, points, user_namespace=in_user_namespace()).tree
    refuse_links(tree)
    _make_targets(tree, spec, prepared)
    mounts = tuple([_attach(item, number, scaffold, bundle) for number, item in enumerate(prepared)])
    user = passwd.look_up(tree, spec.user)
    place = Place(
        f"{bundle}/scaffold/root",
        machine_sys=in_user_namespace() and spec.network == "host",
        tty_group=is_mapped(TTY_GROUP),
        groups=may_set_groups(),
        dev=_make_dev(scaffold, bundle, terminal=spec.terminal),
        screen=spec.screen,
        seal=_seal_command(f"{bundle}/scaffold/root", read_only=spec.read_only_root),
    )
    write(f"{bundle}/config.json", runtime_config(spec, environment(spec, user), user, mounts, place))
    master = -1
    if spec.terminal:
        with stage("open a terminal"):
            master, slave = os.openpty()
            if all(spec.screen):
                syscalls.set_terminal_size(slave, *spec.screen)
        stdio = Stdio(slave, slave, slave)
    wire(
        Stdio(stdio.inp if stdio.inp >= 0 else nothing_to_read(), stdio.out, stdio.err),
        terminal=spec.terminal,
    )
    keep_owners(bundle, f"{bundle}/scaffold/dev/null")
    with stage("mount /proc"):
        syscalls.mount(b"proc", b"/proc", b"proc", OLD_NOSUID_NODEV_NOEXEC)
    if spec.open_ports and spec.network != "host":
        for name, value in open_ports().items():
            write(f"/proc/sys/{name.replace('.', '/')}", value.encode())
    _quiet_cgroups(kind)
    report(channel, ("ready", []), master)
    syscalls.close_from(3, on_exec=True)
    with stage("start the runtime", program):
        os.execve(program, [program, *_arguments(kind, bundle)], {"PATH": os.environ.get("PATH", os.defpath)})


def write(path: str, data: bytes) -> None:
    """Write a file whole. Raises `SetupFailure`."""
    with stage("write", path), open(path, "wb") as file:
        file.write(data)


def seal(root: str, read_only: str) -> None:
    """What the hook does: no device of the root can be opened, and where `read_only` is "1", nothing be written."""
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.mount_setattr(fd, NODEV | (RDONLY if read_only == "1" else 0))


def _seal_command(root: str, *, read_only: bool) -> tuple[str, ...]:
    # An interpreter of its own, as the fork server may be: the user's variables and modules are not its business.
    return (sys.executable, "-I", "-S", "-X", "utf8", "-c", _SEAL, _PACKAGE_PARENT, root, str(int(read_only)))


def _arguments(kind: str, bundle: str) -> list[str]:
    # runc takes a control group that it cannot make for an error, unless it is told that it has no rights.
    apart = ["--cgroup-manager=disabled"] if kind == "crun" else ["--rootless=true"]
    log = ["--log", f"{bundle}/log", "--log-format", "json"]
    return [*apart, *log, "--root", f"{bundle}/state", "run", "--bundle", bundle, "pybuild"]


def _make_dev(scaffold: int, bundle: str, *, terminal: bool) -> str:
    """A /dev as every sandbox has it: none but the devices that are mounted there can be opened. Its path."""
    with stage("mount", "/dev"):
        dev = make_dev(NOSUID | NODEV)
        if terminal:  # crun mounts the terminal there, and does not make the file in a /dev that it is given
            os.close(os.open(b"console", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=dev))
        os.mkdir(b"dev", 0o755, dir_fd=scaffold)
        syscalls.move_mount(dev, scaffold, b"dev")
    for name, tree in make_devices(scaffold).items():
        with stage("mount", b"/dev/" + name):
            syscalls.move_mount(tree, dev, name)
    return f"{bundle}/scaffold/dev"


def _make_targets(tree: int, spec: SandboxSpec, prepared: list[Prepared]) -> None:
    """What is to be mounted on, and the working directory: a runtime could not make them in a read-only root.

    A path that leads into another mount is left to the runtime, which mounts that one before.
    """
    upper = os.open(encode(spec.root.upper), os.O_PATH | os.O_CLOEXEC)
    places = MountPoints(tree, upper)
    for item in prepared:
        os.close(places.open(item.target, directory=item.directory))
    places.make_missing(spec.directories)
    with stage("enter the working directory", spec.cwd):
        try:
            os.close(open_inside(tree, encode(spec.cwd), os.O_PATH | os.O_DIRECTORY))
        except FileNotFoundError:
            places.make_directory(encode(spec.cwd))
    os.close(upper)


def _attach(item: Prepared, number: int, scaffold: int, bundle: str) -> BundleMount:
    """Give a detached mount a path that the runtime can bind."""
    name = b"mount-%d" % number
    with stage("mount", item.target):
        if item.directory:
            os.mkdir(name, 0o700, dir_fd=scaffold)
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=scaffold))
        syscalls.move_mount(item.tree, scaffold, name)
        flags = os.fstatvfs(item.tree).f_flag
    options = ["rbind", "nodev"]
    options += [text for text, flag in (("ro", 1), ("nosuid", 2), ("noexec", 8)) if flags & flag]
    return BundleMount(os.fsdecode(item.target), f"{bundle}/scaffold/{name.decode()}", tuple(options))


def _quiet_cgroups(kind: str) -> None:
    """Leave the runtime no control group to make."""
    if not os.path.isdir(_CGROUPS):
        return
    with stage("make the control groups read-only"):
        if kind == "crun":
            # It refuses a machine whose version 2 has controllers beside those of version 1, if it sees that.
            tree = make_tmpfs(NOSUID | NODEV | NOEXEC | RDONLY, {b"mode": b"755", b"size": b"4k"})
            syscalls.move_mount(tree, syscalls.AT_FDCWD, _CGROUPS)
        else:
            fd = os.open(_CGROUPS, os.O_PATH | os.O_CLOEXEC)
            syscalls.mount_setattr(fd, RDONLY, recursive=True)
