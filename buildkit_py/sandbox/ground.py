"""The ground of a sandbox: what is the same for all of them, made before the spec is looked at.

The process with its namespaces, a scaffold to put mounts together on, and
/proc, /sys and /dev. It is half of the way to the command, so the fork server
lays it for the next sandbox while nobody waits (`begin`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import stage
from buildkit_py.sandbox.host import SIG_SETMASK, follow_parent
from buildkit_py.sandbox.mounts import NOSUID, encode, make_tmpfs
from buildkit_py.sandbox.overlay import Overlays
from buildkit_py.sandbox.system import SystemMounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.sandbox.host import Host

TTY_GROUP = 5
# icmp(7): ping_group_range takes signed numbers.
_LAST_PING_GROUP = (1 << 31) - 1
# What the scaffold has room for besides the files of a spec's mounts.
_ROOM = 8 << 20


class Ground:
    """The calling process, just forked into its namespaces, becomes the first process of a sandbox.

    `size` is what the files of mounts may come to in bytes, `waits` whether the spec comes later than now, `cgroups`
    are joined before all else, but the one that it was made in (`joined`); `insecure` and `shm` as a spec has them.
    Raises `SetupFailure`.
    """

    def __init__(
        self,
        host: Host,
        *,
        size: int,
        waits: bool = False,
        cgroups: tuple[str, ...] = (),
        joined: str = "",
        insecure: bool = False,
        shm: int = 0,
    ) -> None:
        become_leader(host)
        host.look_around()
        if cgroups:
            join_cgroups(tuple([directory for directory in cgroups if directory != joined]))
            with stage("make a namespace of control groups"):
                syscalls.unshare(syscalls.CLONE_NEWCGROUP)  # each group is the root of its hierarchy then
        self._waits = waits
        # Until a root is mounted, what this machine mounts and unmounts still comes through: a sandbox that waits
        # for its spec would otherwise not see the one and keep the other busy.
        set_propagation(syscalls.MS_SLAVE if waits else syscalls.MS_PRIVATE)
        self.scaffold = make_scaffold(b"/", size)
        self.user_namespace = in_user_namespace()
        self.overlays = Overlays(self.scaffold, user_xattr=self.user_namespace)
        self.system = SystemMounts(self.scaffold, tty_group=is_mapped(TTY_GROUP), insecure=insecure, shm=shm)
        self.setgroups_allowed = may_set_groups()

    def open_ports(self) -> None:
        """Let every user in this network namespace take ports below 1024 and send pings. Raises `SetupFailure`."""
        for name, value in open_ports().items():
            self.system.set_sysctl(name.replace(".", "/").encode(), value.encode())

    def settle(self) -> None:
        """From now on nothing that this machine mounts is seen. Raises `SetupFailure`."""
        if self._waits:
            set_propagation(syscalls.MS_PRIVATE)


def become_leader(host: Host) -> None:
    """A session of our own, no signal ignored or blocked, dead when the builder is."""
    follow_parent(host)
    os.setsid()
    os.umask(0o022)
    for number in host.handled:  # an exec resets handlers, but not what is ignored
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(SIG_SETMASK, ())
    try:
        syscalls.join_new_session_keyring()
    except OSError:
        pass  # no keyrings in this kernel or quota: what a step could do with one, the filter refuses anyway


def join_cgroups(directories: tuple[str, ...]) -> None:
    """Enter the control groups that limit a sandbox. For a process with one thread. Raises `SetupFailure`."""
    for directory in directories:
        with stage("join the control group", directory):
            try:
                # Version 1's, for a thread, of which there is one. A thread that moves itself goes at once; for a
                # process the kernel waits until no other forks or ends (cgroup_threadgroup_rwsem): 5 to 20 ms.
                fd = os.open(encode(directory) + b"/tasks", os.O_WRONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                fd = os.open(encode(directory) + b"/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            os.write(fd, b"0")
            os.close(fd)


def set_propagation(kind: int) -> None:
    with stage("make the mounts private"):
        syscalls.mount(None, b"/", None, syscalls.MS_REC | kind)


def make_scaffold(place: bytes, size: int) -> int:
    """A private tmpfs over the directory `place`, where mounts are put together, with room for files of `size` bytes.

    Over the old root it goes with that. Raises `SetupFailure`.
    """
    with stage("mount the scaffold"):
        scaffold = make_tmpfs(NOSUID, {b"mode": b"755", b"size": b"%d" % (_ROOM + 2 * size)})
        below = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        syscalls.move_mount(scaffold, below)
        os.close(below)
    return scaffold


def _read_own(name: bytes) -> bytes:
    fd = os.open(b"/proc/self/" + name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)


def in_user_namespace() -> bool:
    return _read_own(b"uid_map").split() != [b"0", b"0", b"4294967295"]


def is_mapped(gid: int) -> bool:
    for line in _read_own(b"gid_map").splitlines():
        first, _, count = [int(word) for word in line.split()]
        if first <= gid < first + count:
            return True
    return False


def open_ports() -> dict[str, str]:
    """The sysctls of a network namespace that let every user in it take ports below 1024 and send pings."""
    # The kernel takes no group that is not mapped.
    return {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": f"0 {_last_group()}"}


def _last_group() -> int:
    """The last of the groups that are mapped from 0 on without a gap."""
    end = 0
    for line in sorted(_read_own(b"gid_map").splitlines(), key=lambda line: int(line.split()[0])):
        first, _, count = [int(word) for word in line.split()]
        if first == end:
            end = first + count
    return min(end - 1, _LAST_PING_GROUP)


def may_set_groups() -> bool:
    return _read_own(b"setgroups").strip() == b"allow"
