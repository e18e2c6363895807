"""The mounts that every sandbox has: /proc, /sys and /dev, as docker's build gives them.

They are made before the root changes, since in a user namespace the kernel
allows new /proc and /sys mounts only while the old ones are in sight; and
they are put together on the scaffold, masks and all, before anything of an
image is mounted, so that three moves bring them into a root.
Device nodes are binds of this machine's own, so that every other mount can
be `nodev`: with CAP_MKNOD, which docker leaves to steps, a step can make the
node of a disk, but never open it, whether or not there is a device cgroup.
"""

from __future__ import annotations

import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import SetupFailure, stage
from buildkit_py.sandbox.mounts import NODEV, NOEXEC, NOSUID, RDONLY, make_filesystem, make_tmpfs
from buildkit_py.sandbox.paths import MountPoints

_DEVICES = {
    b"null": (1, 3),
    b"zero": (1, 5),
    b"full": (1, 7),
    b"random": (1, 8),
    b"urandom": (1, 9),
    b"tty": (5, 0),
}
_LINKS = {
    b"fd": b"/proc/self/fd",
    b"stdin": b"/proc/self/fd/0",
    b"stdout": b"/proc/self/fd/1",
    b"stderr": b"/proc/self/fd/2",
    b"ptmx": b"pts/ptmx",
}
# The list of the OCI default and moby's later additions; what this kernel has not is passed over.
MASKED = (
    b"proc/acpi",
    b"proc/asound",
    b"proc/interrupts",
    b"proc/kcore",
    b"proc/keys",
    b"proc/latency_stats",
    b"proc/sched_debug",
    b"proc/scsi",
    b"proc/timer_list",
    b"proc/timer_stats",
    b"sys/devices/virtual/powercap",
    b"sys/firmware",
)
READ_ONLY = (b"proc/bus", b"proc/fs", b"proc/irq", b"proc/sys", b"proc/sysrq-trigger")
_DIRECTORY, _CHARACTER_DEVICE, _BLOCK_DEVICE = 0o040000, 0o020000, 0o060000
_EPERM, _EBUSY = 1, 16
SHM = 64 << 20
OLD_NOSUID_NODEV_NOEXEC = 2 | 4 | 8  # mount(2) has its own numbers for them


class SystemMounts:
    """The three trees, whole, on the attached tmpfs `scaffold`. `tty_group`: group 5 exists in this user namespace.
    `shm` are the bytes of /dev/shm, 0 for 64 MiB.

    Raises `SetupFailure`.
    """

    def __init__(self, scaffold: int, *, tty_group: bool, insecure: bool = False, shm: int = 0) -> None:
        all_off = NOSUID | NODEV | NOEXEC
        with stage("mount", "/proc"):
            self._proc = make_filesystem(b"proc", all_off, {})
            # Opened before something read-only lies over it, which a lookup that begins here does not come to.
            self._sysctls = os.open(b"sys", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._proc)
        with stage("mount", "/sys"):
            self._sys = _make_sys(0 if insecure else RDONLY)
            self._cgroups, self._hierarchies = _make_cgroups(0 if insecure else RDONLY)
        with stage("mount", "/dev"):
            self._dev = make_dev(NOSUID if insecure else NOSUID | NODEV)
        pts = {b"ptmxmode": b"0666", b"mode": b"0620"}
        if tty_group:
            pts[b"gid"] = b"5"
        with stage("mount", "/dev/pts"):
            self._pts = make_filesystem(b"devpts", NOSUID | NOEXEC, pts)
        with stage("mount", "/dev/shm"):
            self._shm = make_tmpfs(all_off, {b"mode": b"1777", b"size": b"%d" % (shm or SHM)})
        with stage("mount", "/dev/mqueue"):
            self._mqueue = make_filesystem(b"mqueue", all_off, {})
        with stage("mount", "an empty directory"):
            self._empty = make_tmpfs(all_off | RDONLY, {b"size": b"4k", b"nr_inodes": b"2", b"mode": b"755"})
        self._empty_is_used = False
        self._nodes = make_devices(scaffold)

        self._put_together(scaffold, insecure)

    def _put_together(self, scaffold: int, insecure: bool) -> None:
        for name, tree in ((b"proc", self._proc), (b"sys", self._sys), (b"dev", self._dev)):
            with stage("mount", b"/" + name):
                os.mkdir(name, 0o755, dir_fd=scaffold)
                syscalls.move_mount(tree, scaffold, name)
        for name, tree in ((b"pts", self._pts), (b"shm", self._shm), (b"mqueue", self._mqueue), *self._nodes.items()):
            with stage("mount", b"/dev/" + name):
                syscalls.move_mount(tree, self._dev, name)
        if self._cgroups >= 0:
            with stage("mount", "/sys/fs/cgroup"):
                syscalls.move_mount(self._cgroups, self._sys, b"fs/cgroup")
                _mount_hierarchies(self._cgroups, self._hierarchies, 0 if insecure else RDONLY)
        if insecure:
            _make_loop_devices(self._dev)
            return
        for path in READ_ONLY:
            self._protect(scaffold, path)
        for path in MASKED:
            self._mask(scaffold, path)

    def attach(self, points: MountPoints) -> None:
        """Move everything into the root filesystem of `points`. Raises `SetupFailure`."""
        for target, tree in ((b"/proc", self._proc), (b"/sys", self._sys), (b"/dev", self._dev)):
            fd = points.open_own_directory(target)
            with stage("mount", target):
                syscalls.move_mount(tree, fd)
            os.close(fd)

    def set_sysctl(self, name: bytes, value: bytes) -> None:
        """Set a value of one of the sandbox's namespaces. Raises `SetupFailure`."""
        with stage("set the sysctl", name.replace(b"/", b".")):
            fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._sysctls)
            os.write(fd, value)
            os.close(fd)

    def make_console(self, slave: int) -> None:
        """Bind the pseudo-terminal `slave` over /dev/console."""
        with stage("mount", "/dev/console"):
            os.close(os.open(b"console", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._dev))
            tree = syscalls.open_tree(slave, b"", syscalls.AT_EMPTY_PATH | syscalls.OPEN_TREE_CLONE)
            syscalls.move_mount(tree, self._dev, b"console")
            os.close(tree)

    def hide(self, root: int, path: bytes) -> None:
        """Cover a directory of the root, if it is there, with an empty read-only one."""
        self._mask(root, path.lstrip(b"/"))

    def _mask(self, root: int, path: bytes) -> None:
        fd = _find(root, path)
        if fd < 0:
            return
        with stage("mask", path):
            directory = os.fstat(fd).st_mode & 0o170000 == _DIRECTORY
            if directory and not self._empty_is_used:  # what is not attached yet cannot be cloned
                self._empty_is_used = True
                syscalls.move_mount(self._empty, fd)
            else:
                source = self._empty if directory else self._nodes[b"null"]
                clone = syscalls.open_tree(source, b"", syscalls.AT_EMPTY_PATH | syscalls.OPEN_TREE_CLONE)
                syscalls.move_mount(clone, fd)
                os.close(clone)
            os.close(fd)

    @staticmethod
    def _protect(root: int, path: bytes) -> None:
        fd = _find(root, path)
        if fd < 0:
            return
        with stage("make read-only", path):
            tree = syscalls.open_tree(fd, b"", syscalls.AT_EMPTY_PATH | syscalls.OPEN_TREE_CLONE)
            syscalls.mount_setattr(tree, RDONLY)
            syscalls.move_mount(tree, fd)
            os.close(tree)
            os.close(fd)


def make_dev(attributes: int) -> int:
    """A detached /dev with places for `make_devices` and for the file systems below it. Raises `OSError`."""
    dev = make_tmpfs(attributes, {b"mode": b"755", b"size": b"65536k"})
    for name in _DEVICES:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=dev))
    for name, target in _LINKS.items():
        os.symlink(target, name, dir_fd=dev)
    for name in (b"pts", b"shm", b"mqueue"):
        os.mkdir(name, 0o755, dir_fd=dev)
    return dev


def _find(root: int, path: bytes) -> int:
    try:
        return syscalls.openat2(root, path, os.O_PATH, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except OSError as error:
        raise SetupFailure("mask", error.errno or 0, path.decode("utf-8", "replace")) from error


def _make_loop_devices(dev: int) -> None:
    """This machine's loop devices, which BuildKit adds for an insecure step; not for an ordinary user, who cannot."""
    for item in os.scandir(b"/dev"):
        if item.name == b"loop-control" or (item.name.startswith(b"loop") and item.name[4:].isdigit()):
            status = item.stat(follow_symlinks=False)
            if status.st_mode & 0o170000 not in (_CHARACTER_DEVICE, _BLOCK_DEVICE):
                continue
            try:
                os.mknod(item.name, status.st_mode, status.st_rdev, dir_fd=dev)
            except PermissionError:
                return


def _make_sys(read_only: int) -> int:
    try:
        return make_filesystem(b"sysfs", NOSUID | NODEV | NOEXEC | read_only, {})
    except OSError as error:
        if error.errno != _EPERM:
            raise
    # In a user namespace that does not own the network namespace, a new sysfs is refused: show the host's, read-only,
    # as rootless podman and BuildKit do.
    tree = syscalls.open_tree(syscalls.AT_FDCWD, b"/sys", syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
    syscalls.mount_setattr(tree, NOSUID | NODEV | NOEXEC | read_only, recursive=True)
    return tree


def _make_cgroups(read_only: int) -> tuple[int, list[bytes]]:
    """What goes on /sys/fs/cgroup: -1 for nothing, and the version 1 hierarchies that are mounted in it then.

    Seen from the sandbox's own cgroup namespace (cgroup_namespaces(7)): its root is the cgroup that it runs in.
    Where version 1 has the controllers, docker shows those and leaves out the unified hierarchy beside them.
    """
    try:
        fd = os.open(b"/sys/fs/cgroup", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1, []
    try:
        if syscalls.filesystem_magic(fd) != syscalls.CGROUP2_MAGIC:
            hierarchies = _hierarchies()
            options = {b"mode": b"755", b"size": b"64k"}
            return (make_tmpfs(NOSUID | NODEV | NOEXEC, options) if hierarchies else -1), hierarchies
        return make_filesystem(b"cgroup2", NOSUID | NODEV | NOEXEC | read_only, {}), []
    except OSError as error:
        if error.errno in (_EPERM, _EBUSY):
            return -1, []
        raise
    finally:
        os.close(fd)


def _hierarchies() -> list[bytes]:
    """The version 1 hierarchies of this process by their mount options: `memory`, `cpu,cpuacct`, `name=systemd`."""
    fd = os.open(b"/proc/self/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    data = b""
    while chunk := os.read(fd, 1 << 12):
        data += chunk
    os.close(fd)
    return [options for line in data.splitlines() if (options := line.split(b":", 2)[1])]


def _mount_hierarchies(tree: int, hierarchies: list[bytes], read_only: int) -> None:
    """Mount each in a directory of the tmpfs `tree` named after it, and make all of it read-only if so wanted.

    Controllers that share a hierarchy have a link each. What a kernel or a container around us forbids is left out.
    """
    if not hierarchies:
        return
    os.fchdir(tree)
    for options in hierarchies:
        name = options.removeprefix(b"name=")
        os.mkdir(name, 0o755)
        try:
            # Not read-only yet: as a mount(2) flag that would be the hierarchy's own, for everybody.
            syscalls.mount(b"cgroup", name, b"cgroup", OLD_NOSUID_NODEV_NOEXEC, options)
        except OSError:
            os.rmdir(name)
            continue
        for controller in name.split(b",") if b"," in name else ():
            os.symlink(name, controller)
    if read_only:
        syscalls.mount_setattr(tree, read_only, recursive=True)
    os.chdir(b"/")


def make_devices(scaffold: int) -> dict[bytes, int]:
    """Detached binds of the device nodes: of the sandbox's own, whose mode and owner it may change.

    Where none can be made, as in a user namespace, they are this machine's, read-only: they can be
    written to all the same, but nobody changes their modes.
    """
    nodes = {}
    with stage("make a directory for", "/dev"):
        os.mkdir(b"devices", 0o755, dir_fd=scaffold)
    for name, numbers in _DEVICES.items():
        place = b"devices/" + name
        try:
            os.mknod(place, _CHARACTER_DEVICE, os.makedev(*numbers), dir_fd=scaffold)
        except PermissionError:
            nodes[name] = _open_device(name, numbers)
            continue
        with stage("make the device", b"/dev/" + name):
            os.chmod(place, 0o666, dir_fd=scaffold)  # whatever the umask says
            nodes[name] = syscalls.open_tree(scaffold, place, syscalls.OPEN_TREE_CLONE)
    return nodes


def _open_device(name: bytes, numbers: tuple[int, int]) -> int:
    """A detached bind of one of this machine's device nodes, checked to be what its name says (CVE-2025-31133)."""
    path = b"/dev/" + name
    with stage("open the device", path):
        tree = syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE | syscalls.AT_SYMLINK_NOFOLLOW)
        status = os.fstat(tree)
    found = (os.major(status.st_rdev), os.minor(status.st_rdev))
    if status.st_mode & 0o170000 != _CHARACTER_DEVICE or found != numbers:
        raise SetupFailure("this machine's device is not what its name says", 0, path.decode())
    with stage("make read-only", path):
        syscalls.mount_setattr(tree, RDONLY)
    return tree
