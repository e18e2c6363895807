"""Limits: a control group of its own for a sandbox that may use so much memory, so many processors and processes.

Each hierarchy is used where it has the controller: version 1 by the
controller's own mount, version 2 where it is delegated (cgroups(7); kernel
documentation, cgroup-v1/memory, cgroup-v2). A group is made beside or below
the one that pybuild runs in, so that what limits pybuild limits its steps.
A limit that cannot be set is an error: nobody asks for one without need.
"""

from __future__ import annotations

import os

from buildkit_py.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_PREFIX = "pybuild-"
_PERIOD = 100_000  # microseconds, the kernel's own default
_TRIES, _PAUSE = 50, 0.01
_MEMORY, _CPU, _PIDS = "memory", "cpu", "pids"
MOST_PROCESSES = 1 << 22
"""More than any machine has: the kernel's PID_MAX_LIMIT (include/linux/threads.h)."""
_FLAGS = {_MEMORY: "--memory", _CPU: "--cpus", _PIDS: "--pids-limit"}
_HINTS = {
    2: "let it have a group of its own: systemd-run --user --scope -p Delegate=yes pybuild …",
    1: "control groups of version 1 are root's; run as root, or boot with systemd.unified_cgroup_hierarchy=1",
    0: "mount the control groups: mount -t cgroup2 none /sys/fs/cgroup",
}


class Hierarchy:
    """One mounted hierarchy: its version, the controllers it has, and the group of this process in it as a path.

    `top` is the mount point: nothing above it can be seen.
    """

    def __init__(self, version: int, controllers: tuple[str, ...], own: str, top: str) -> None:
        self.version = version
        self.controllers = controllers
        self.own = own
        self.top = top

    def parents(self, controller: str) -> list[str]:
        """Where a group with a controller may be made, the best place first."""
        if self.version == 1:
            return [self.own]
        # A group of version 2 with processes in it, as our own, gives its children no controllers.
        found = []
        at = self.own
        while True:
            if controller in _read(f"{at}/cgroup.subtree_control").split():
                found.append(at)
            if at == self.top:
                return found
            at = os.path.dirname(at)


class Limits:
    """The groups of one sandbox. `directories` are those that its first process has to join."""

    def __init__(self) -> None:
        self.directories: tuple[str, ...] = ()
        self._locks: list[int] = []
        self._memory: Hierarchy | None = None
        self._memory_group = ""

    @classmethod
    def make(cls, hierarchies: list[Hierarchy], *, memory: int = 0, cpus: int = 0, pids: int = 0) -> Self:
        """Groups that allow `memory` bytes, `cpus` thousandths of a processor and `pids` processes (0: no limit).

        Raises `SandboxError` where this machine or user cannot have them.
        """
        limits = cls()
        try:
            if memory:
                hierarchy, group = limits._group(hierarchies, _MEMORY)
                limits._memory, limits._memory_group = hierarchy, group
                _limit_memory(hierarchy, group, memory)
            if cpus:
                hierarchy, group = limits._group(hierarchies, _CPU)
                _limit_processors(hierarchy, group, cpus)
            if pids:
                _, group = limits._group(hierarchies, _PIDS)
                _write(f"{group}/pids.max", pids)
        except OSError as problem:
            limits.remove()
            raise SandboxError(
                f"the limits cannot be set: {(problem.strerror or str(problem)).lower()}",
                at=problem.filename,
            ) from problem
        except BaseException:
            limits.remove()
            raise
        return limits

    def _group(self, hierarchies: list[Hierarchy], controller: str) -> tuple[Hierarchy, str]:
        """The group in the hierarchy that has a controller; one that was made for another controller serves, too."""
        having = [hierarchy for hierarchy in hierarchies if controller in hierarchy.controllers]
        for hierarchy in having:
            for parent in hierarchy.parents(controller):
                made = next((path for path in self.directories if os.path.dirname(path) == parent), "")
                made = made or self._make(parent)
                if made:
                    return hierarchy, made
        raise SandboxError(
            f"{_FLAGS[controller]} cannot be enforced here: this user may make no control group with `{controller}`",
            hint=_HINTS[having[0].version if having else 0],
        )

    def _make(self, parent: str) -> str:
        """A new locked group, "" where none may be made. What builds that were killed left is removed first."""
        import fcntl

        _remove_leftovers(parent)
        for number in range(_TRIES):
            path = f"{parent}/{_PREFIX}{os.getpid()}-{id(self):x}-{number}"
            try:
                os.mkdir(path, 0o755)
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileExistsError:
                continue
            except FileNotFoundError:  # taken for a leftover before it was locked
                continue
            except OSError:
                return ""
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.stat(path), os.fstat(lock)):
                    self._locks.append(lock)
                    self.directories = (*self.directories, path)
                    return path
            except OSError:
                pass
            os.close(lock)
        return ""

    def out_of_memory(self) -> bool:
        """Whether the kernel killed a process of the group for want of memory."""
        if self._memory is None:
            return False
        name = "memory.oom_control" if self._memory.version == 1 else "memory.events"
        for line in _read(f"{self._memory_group}/{name}").splitlines():
            key, _, count = line.partition(" ")
            if key == "oom_kill":
                return int(count) > 0
        return False

    def remove(self) -> None:
        """Remove the groups, whose processes are gone. One that will not go is a leftover for the next build."""
        import time

        for path in self.directories:
            for _ in range(_TRIES):
                try:
                    os.rmdir(path)
                    break
                except FileNotFoundError:
                    break
                except OSError:  # the kernel has not quite buried the last process
                    time.sleep(_PAUSE)
        for lock in self._locks:
            os.close(lock)
        self.directories = ()
        self._locks = []


def hierarchies() -> list[Hierarchy]:
    """The mounted hierarchies, those of version 1 first: a controller that one of them has, version 2 lacks."""
    groups: dict[str, str] = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            groups[name] = path
    found: list[Hierarchy] = []
    for line in _read("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        root, top = _unescaped(fields[3]), _unescaped(fields[4])
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup":
            controllers = tuple(name for name in options if name in groups)
            if controllers:
                found.append(Hierarchy(1, controllers, _place(top, root, groups[controllers[0]]), top))
        elif kind == "cgroup2" and "" in groups:
            own = _place(top, root, groups[""])
            found.append(Hierarchy(2, tuple(_read(f"{top}/cgroup.controllers").split()), own, top))
    found.sort(key=lambda hierarchy: hierarchy.version)
    return found


def refused(hierarchies: list[Hierarchy]) -> tuple[tuple[str, ...], str]:
    """The controllers with which this user may make no group, and what helps; nothing is made to find out."""
    without, hint = [], ""
    for controller in (_CPU, _MEMORY, _PIDS):
        having = [hierarchy for hierarchy in hierarchies if controller in hierarchy.controllers]
        places = [parent for hierarchy in having for parent in hierarchy.parents(controller)]
        if not any(os.access(parent, os.W_OK | os.X_OK) for parent in places):
            without.append(controller)
            hint = hint or _HINTS[having[0].version if having else 0]
    return tuple(without), hint


def _place(top: str, root: str, path: str) -> str:
    """Where a group is in a mount that shows the hierarchy from `root` on; the mount point where it is not in sight."""
    inside = path[len(root) :] if root != "/" and (path + "/").startswith(root + "/") else path
    place = (top + "/" + inside.strip("/")).rstrip("/")
    return place if ".." not in inside.split("/") and os.path.isdir(place) else top


def _limit_memory(hierarchy: Hierarchy, group: str, memory: int) -> None:
    if hierarchy.version == 1:
        _write(f"{group}/memory.limit_in_bytes", memory)
        if os.path.exists(f"{group}/memory.memsw.limit_in_bytes"):
            _write(f"{group}/memory.memsw.limit_in_bytes", memory)
        return
    _write(f"{group}/memory.max", memory)
    if os.path.exists(f"{group}/memory.swap.max"):
        _write(f"{group}/memory.swap.max", 0)


def _limit_processors(hierarchy: Hierarchy, group: str, cpus: int) -> None:
    quota = cpus * _PERIOD // 1000
    if hierarchy.version == 1:
        _write(f"{group}/cpu.cfs_period_us", _PERIOD)
        _write(f"{group}/cpu.cfs_quota_us", quota)
        return
    _write(f"{group}/cpu.max", f"{quota} {_PERIOD}")


def remove_left(groups: tuple[str, ...]) -> None:
    """Remove groups whose maker was killed, and wait for the kernel to bury what was in them."""
    import time

    for path in groups:
        for _ in range(_TRIES):
            if _remove_leftover(path):
                break
            time.sleep(_PAUSE)


def _remove_leftovers(parent: str) -> None:
    try:
        names = [name for name in os.listdir(parent) if name.startswith(_PREFIX)]
    except OSError:
        return
    for name in names:
        _remove_leftover(f"{parent}/{name}")


def _remove_leftover(path: str) -> bool:
    """Remove a group unless it is a living one's, or not empty yet; whether it is gone."""
    import fcntl

    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rmdir(path)
        return True
    except OSError:
        return False
    finally:
        os.close(lock)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: int | str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    except OSError as problem:
        problem.filename = path
        raise
    finally:
        os.close(fd)


def _unescaped(text: str) -> str:
    """A path of mountinfo, in which blanks stand as `\\040`."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
