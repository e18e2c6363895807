"""The cache mounts of a step: which directory of the store each is, all taken in one order, and filled when new.

As BuildKit has it, a cache mount is not its id alone but also what it began
as: an empty directory of some owner and mode, or files of another filesystem
(`from`). So a cache whose `from` came out otherwise begins anew.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from buildkit_py.errors import BuildfileError, PybuildError
from buildkit_py.executor.run_step import absolute
from buildkit_py.image.entry import DIR
from buildkit_py.store.faults import store_error
from buildkit_py.store.layers import TreeLoss

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Sequence

    from buildkit_py.executor.materialize import Materializer, Trees
    from buildkit_py.graph.op import Mount, Run
    from buildkit_py.graph.step import Step
    from buildkit_py.store.locks import InUse
    from buildkit_py.store.store import Store

_STRICTNESS = ("shared", "private", "locked")
_MODE = 0o755
_EINVAL = 22


class Begun:
    """The cache mounts that this build used, and those that it emptied, for steps that use nothing of earlier builds:
    each is emptied once. `used` are ids by names and keys.
    """

    def __init__(self) -> None:
        self.used: dict[tuple[str, str], str] = {}
        self._lock = allocate_lock()
        self._locks: dict[tuple[str, ...], LockType] = {}
        self._done: set[tuple[str, ...]] = set()

    def acquire(self, key: tuple[str, ...], acquire: Callable[[bool], InUse]) -> InUse:
        """`acquire(fresh)`, fresh for the first who comes with this key; whoever comes meanwhile waits for that."""
        with self._lock:
            lock = self._locks.setdefault(key, allocate_lock())
        with lock:
            held = acquire(key not in self._done)
            self._done.add(key)
            return held


class CacheMounts:
    """What one Run has of the store's cache mounts while it runs.

    `snapshots` and `trees` are the step's sources, `below` is what it stands on.
    """

    def __init__(
        self,
        store: Store,
        materializer: Materializer,
        begun: Begun,
        step: Step,
        below: Trees,
        snapshots: Sequence[str],
        trees: Sequence[Trees | None],
        waiting: Callable[[int], object],
        restore: Callable[[str, str, str], bool] | None = None,
    ) -> None:
        self._restore = restore
        self._store = store
        self._materializer = materializer
        self._begun = begun
        self._step = step
        self._below = below
        self._snapshots = snapshots
        self._trees = trees
        self._waiting = waiting
        self._held: dict[tuple[str, ...], InUse] = {}

    def take(self, op: Run) -> None:
        """Have each cache once, however often it is mounted, and all steps in one order.

        A step that asked twice would wait for itself, and two with other orders for each other. Of a cache that is
        mounted twice the strictest `sharing` holds, and all `key`s.
        Raises `BuildfileError` where a `key` names nothing.
        """
        wanted: dict[tuple[str, ...], Mount] = {}
        for mount in op.mounts:
            if mount.kind == "cache":
                key = self._key(mount, op)
                other = wanted.get(key, mount)
                strictest = max(other, mount, key=lambda one: _STRICTNESS.index(one.sharing))
                wanted[key] = strictest.replace(keys=tuple(dict.fromkeys((*other.keys, *mount.keys))))
        for key in sorted(wanted):
            mount = wanted[key]
            version = self._version(mount, op)
            self._begun.used[self._store.mounts.name(key[0], key[1:]), version] = key[0]

            def acquire(fresh: bool, key: tuple[str, ...] = key, mount: Mount = mount, version: str = version) -> InUse:
                return self._store.mounts.acquire(
                    key[0],
                    mount.sharing,
                    self._waiting,
                    begins=key[1:],
                    fill=lambda directory: self._fill(mount, key, version, directory, fresh),
                    fresh=fresh,
                )

            self._held[key] = self._begun.acquire(key, acquire) if op.ignore_cache else acquire(False)

    def path(self, mount: Mount, op: Run) -> str:
        """The directory that a mount shows; `take` came before."""
        return self._held[self._key(mount, op)].path

    def release(self) -> None:
        """Give them back."""
        while self._held:
            self._held.popitem()[1].release()

    def _key(self, mount: Mount, op: Run) -> tuple[str, ...]:
        """The cache's id, and what it began as; a plain one has its id alone."""
        id = mount.id or absolute(mount.target, op)
        if mount.source >= 0:
            return (id, "from", self._snapshots[mount.source], mount.path)
        attributes = f"{_mode(mount):o} {mount.uid} {mount.gid}"
        return (id,) if attributes == f"{_MODE:o} 0 0" else (id, "empty", attributes)

    def _version(self, mount: Mount, op: Run) -> str:
        if not mount.keys:
            return ""
        from buildkit_py.executor.mount_key import mount_key

        try:
            return mount_key(mount, op, self._below, self._trees)
        except PybuildError as problem:
            problem.place(self._step.position)
            raise
        except OSError as problem:
            raise store_error(problem, self._store.root, "read what is the key of a cache mount") from problem

    def _fill(self, mount: Mount, key: tuple[str, ...], version: str, directory: str, fresh: bool) -> None:
        """Make a new, empty directory what another machine saved of it, else what the mount says that it begins as."""
        tree = self._trees[mount.source] if mount.source >= 0 else None
        restored = False
        if self._restore is not None and not fresh:
            restored = self._restore(self._store.mounts.name(key[0], key[1:]), version, directory)
        try:
            if tree is None:
                self._set(directory, _mode(mount), mount.uid, mount.gid)
                return
            from buildkit_py.executor.write_tree import write_tree
            from buildkit_py.image.union import Union

            union = Union(tree.roots)
            top = union.lookup(mount.path)
            if top is None or top.kind != DIR:
                raise BuildfileError(
                    f"the cache mount's source `{mount.path}` is {'not there' if top is None else 'no directory'}",
                    at=self._step.position,
                    hint="a cache mount begins with the files of a directory of its `from`",
                )
            if not restored:
                write_tree(union.walk(mount.path), directory, self._materializer.identity)
            self._set(directory, top.stat.st_mode & 0o7777, top.stat.st_uid, top.stat.st_gid)
        except OSError as problem:
            raise store_error(problem, self._store.root, "fill a cache mount") from problem

    def _set(self, directory: str, mode: int, uid: int, gid: int) -> None:
        if uid or gid:
            try:
                os.chown(directory, uid, gid)
            except OSError as problem:
                if problem.errno != _EINVAL or not self._materializer.identity.single_id:
                    raise
                self._materializer.lossy(TreeLoss(owners=1))
        os.chmod(directory, mode)


def _mode(mount: Mount) -> int:
    return mount.mode if mount.mode >= 0 else _MODE
