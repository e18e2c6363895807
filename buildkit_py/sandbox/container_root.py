"""The root of a container as a descriptor, for a process that stays outside of it.

Whoever holds one resolves paths below it (`paths.open_inside`), sees what is
mounted in there, and keeps this machine's own root: no program, library or
/proc of the container is ever used (CVE-2019-14271). An ordinary user's
process enters the container's user namespace for it, and no other one.
"""

from __future__ import annotations

import os

from buildkit_py.errors import SandboxError
from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.failure import SetupFailure, stage
from buildkit_py.sandbox.ground import in_user_namespace, set_propagation
from buildkit_py.sandbox.launch import launch_error
from buildkit_py.sandbox.mounts import NOSUID, Sources, encode, make_tmpfs
from buildkit_py.sandbox.overlay import Overlays
from buildkit_py.sandbox.paths import MountPoints, Stub, remove_stubs
from buildkit_py.sandbox.pidfds import has_ended, is_elsewhere, pid_of
from buildkit_py.sandbox.rootfs import mount_root
from buildkit_py.sandbox.userns import joined, overlay_xattr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from buildkit_py.sandbox.spec import SandboxSpec

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ROOM = 1 << 20


def enter_user_namespace(pidfd: int) -> None:
    """Enter the user namespace of a process, unless it is this process's own, or it has ended.

    Only for a process with one thread. Raises `SandboxError`.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        if is_elsewhere(pidfd, "user"):
            syscalls.setns(pidfd, syscalls.CLONE_NEWUSER)
            joined(uid, gid)
    except ProcessLookupError:
        return
    except OSError as problem:
        raise SandboxError(f"cannot enter the container's user namespace: {problem.strerror}") from problem


def running_root(pidfd: int) -> int:
    """The root of the running container whose first process the pidfd is of, as a descriptor that the caller closes.

    -1 where it has just ended, or is about to. Raises `SandboxError`.
    """
    enter_user_namespace(pidfd)
    pid = pid_of(pidfd)
    try:
        root = os.open(f"/proc/{pid}/root", _DIRECTORY) if pid else -1
    except FileNotFoundError:  # a process that ends has no root any more, and is there for some time yet
        return -1
    except OSError as problem:
        if not has_ended(pidfd):
            raise SandboxError(f"cannot open the container's root: {problem.strerror}") from problem
        return -1
    # Only now it is certain that the number was that of the container, and of no process that came after it.
    if root >= 0 and has_ended(pidfd):
        os.close(root)
        return -1
    return root


class RestingRoot:
    """The root of a container that does not run, with the directories of this machine that it mounts.

    A context manager whose value is the root's descriptor. The mounts are in a mount namespace of this process's own,
    which it enters for good; leaving takes them down. `spec.root.work` is empty. Raises `SandboxError`.
    """

    def __init__(self, spec: SandboxSpec) -> None:
        self._spec = spec
        self._scaffold = -1
        self._tree = -1
        self._stubs: list[Stub] = []

    def __enter__(self) -> int:
        try:
            self._mount()
        except SetupFailure as failure:
            self._unmount()
            raise launch_error(failure.stage, failure.errno, failure.subject) from failure
        except BaseException:
            self._unmount()
            raise
        return self._tree

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unmount()

    def _mount(self) -> None:
        spec = self._spec
        with stage("make a mount namespace"):
            syscalls.unshare(syscalls.CLONE_NEWNS)
        set_propagation(syscalls.MS_PRIVATE)
        with stage("mount the scaffold"):
            self._scaffold = make_tmpfs(NOSUID, {b"mode": b"755", b"size": b"%d" % _ROOM})
            # Over this process's root, which stays what it was: nothing in sight is covered.
            syscalls.move_mount(self._scaffold, syscalls.AT_FDCWD, b"/")
        inside = in_user_namespace()
        overlays = Overlays(self._scaffold, user_xattr=inside)
        sources = Sources(self._scaffold, overlays, spec.root.work)
        prepared = [sources.prepare(mount) for mount in spec.mounts if mount.kind == "bind"]
        points = [(item.target, item.directory) for item in prepared]
        root = mount_root(spec.root, self._scaffold, overlays, points, user_namespace=inside)
        self._tree, self._stubs = root.tree, root.stubs
        upper = os.open(encode(spec.root.upper), os.O_PATH | os.O_CLOEXEC)
        places = MountPoints(root.tree, upper)
        try:
            for item in prepared:
                item.attach(places)
        finally:
            self._stubs = self._stubs + places.stubs
            os.close(upper)

    def _unmount(self) -> None:
        if self._tree >= 0:
            os.close(self._tree)
        if self._scaffold >= 0:
            try:
                syscalls.umount(b"/proc/self/fd/%d" % self._scaffold, syscalls.MNT_DETACH)
            except OSError:
                pass  # it was not mounted yet
            os.close(self._scaffold)
        self._scaffold = self._tree = -1
        stubs, self._stubs = self._stubs, []
        if stubs:
            remove_stubs(self._spec.root.upper, stubs, overlay_xattr())
