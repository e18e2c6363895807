"""The store: one private directory with everything that is local to this machine.

Opening an existing one costs a handful of system calls; each part is loaded
when it is first asked for. `docs/reference/store-layout.md` documents the files.
"""

from __future__ import annotations

import os
import stat
import time

from buildkit_py.errors import StoreError
from buildkit_py.store.boot import this_boot
from buildkit_py.store.faults import store_error
from buildkit_py.store.leases import Leases
from buildkit_py.store.sealed import read_regular
from buildkit_py.store.work import Work, make_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.blobs import Blobs
    from buildkit_py.store.builds import Builds
    from buildkit_py.store.cache_mounts import CacheMounts
    from buildkit_py.store.containers import Containers
    from buildkit_py.store.failed_states import FailedStates
    from buildkit_py.store.images import Images
    from buildkit_py.store.jobs import Jobs
    from buildkit_py.store.layers import Layers
    from buildkit_py.store.leases import Hold
    from buildkit_py.store.networks import Networks
    from buildkit_py.store.records import Records
    from buildkit_py.store.snapshots import Snapshots
    from buildkit_py.store.volumes import Volumes
    from buildkit_py.store.work import WorkDir

FORMAT = b"1\n"
_FILES = frozenset({"format", "boot", "owners"})
_DIRS = frozenset(
    {
        "blobs",
        "builds",
        "containers",
        "failed",
        "images",
        "inuse",
        "jobs",
        "layers",
        "locks",
        "memo",
        "mounts",
        "networks",
        "quarantine",
        "records",
        "scans",
        "snapshots",
        "sources",
        "volumes",
        "work",
    }
)


class Store:
    """An open store. Safe to share among threads; made by `Store.open`."""

    root: str
    work: Work
    leases: Leases
    if TYPE_CHECKING:
        # Made by __getattr__ when they are first used: a build with nothing to do needs two of them.
        blobs: Blobs
        builds: Builds
        containers: Containers
        failed: FailedStates
        images: Images
        jobs: Jobs
        networks: Networks
        layers: Layers
        mounts: CacheMounts
        records: Records
        snapshots: Snapshots
        volumes: Volumes

    def __init__(self, root: str) -> None:
        self.root = root
        self.work = Work(root)
        self.leases = Leases(root)
        # Of snapshots, which never change: a build of a thousand steps asks for a thousand of one layer more each.
        self.contents: dict[str, str] = {"": ""}

    @classmethod
    def open(cls, root: str = "") -> Store:
        """The store in `root` ("": where the environment says), made if it is missing.

        What a crash of the machine may have torn is dropped first, and what
        killed processes left is removed. Raises `StoreError` if the directory
        is not ours, not writable, not a store or of another format.
        """
        if not root:
            from buildkit_py.config import store_root

            root = store_root(os.environ)
        root = os.path.abspath(root)
        store = cls(root)
        try:
            if _prepare(root):
                _create(store.work)
        except OSError as problem:
            raise store_error(problem, root, "open the store") from problem
        synced = this_boot(root)
        if synced is None:
            from buildkit_py.store.recover import recover

            recover(store)
        elif synced > time.time_ns():
            # The clock was set back: what is written now would look older than the mark.
            from buildkit_py.store.boot import write_mark

            write_mark(store.work, 0)
        if os.listdir(root + "/work"):
            store.work.sweep()
        return store

    def path(self, *parts: str) -> str:
        """A path below the root."""
        return "/".join((self.root, *parts))

    def work_dir(self, label: str) -> WorkDir:
        """A new private directory on the store's filesystem. Raises `StoreError`."""
        return self.work.new(label)

    def hold(self) -> Hold:
        """Keep what is used from now on safe from prune, until the result is released. Every build holds."""
        return self.leases.hold()

    def view(self, *, sets_aside: bool) -> Store:
        """The same store for one that only looks: reading is no use, and damage is set aside only if wanted."""
        view = Store(self.root)
        view.leases.renews = False
        if sets_aside:
            view.work = self.work
        else:
            view.work.sets_aside = False
        return view

    def mark_synced(self) -> None:
        """Write all that is in the store to the disk and note that it is there. Raises `StoreError`.

        What was written since the last mark is checked or dropped if the machine goes down.
        """
        from buildkit_py.store.boot import mark_synced

        mark_synced(self.work)

    def bind(self, owners: str) -> None:
        """Let only those use it from now on whose files have the same owners on the disk; see `owners.py`."""
        from buildkit_py.store.owners import bind

        bind(self, owners)

    def keep_synced(self) -> None:
        """See to it that what a crash of the machine would cost stays small; returns at once."""
        from buildkit_py.store.boot import is_mark_old

        if is_mark_old(self.root):
            from buildkit_py.store.sync import mark_in_background

            mark_in_background(self.root)

    def __getattr__(self, name: str) -> object:
        part: object
        if name == "blobs":
            from buildkit_py.store.blobs import Blobs

            part = Blobs(self.work, self.leases)
        elif name == "layers":
            from buildkit_py.store.layers import Layers

            part = Layers(self.work, self.leases, self.blobs)
        elif name == "snapshots":
            from buildkit_py.store.snapshots import Snapshots

            part = Snapshots(self.work, self.leases)
        elif name == "records":
            from buildkit_py.store.records import Records

            part = Records(self.work, self.leases)
        elif name == "images":
            from buildkit_py.store.images import Images

            part = Images(self.work, self.leases)
        elif name == "mounts":
            from buildkit_py.store.cache_mounts import CacheMounts

            part = CacheMounts(self.work)
        elif name == "builds":
            from buildkit_py.store.builds import Builds

            part = Builds(self.work)
        elif name == "containers":
            from buildkit_py.store.containers import Containers

            part = Containers(self.work)
        elif name == "networks":
            from buildkit_py.store.networks import Networks

            part = Networks(self.work)
        elif name == "failed":
            from buildkit_py.store.failed_states import FailedStates

            part = FailedStates(self.work)
        elif name == "jobs":
            from buildkit_py.store.jobs import Jobs

            part = Jobs(self.work)
        elif name == "volumes":
            from buildkit_py.store.volumes import Volumes

            part = Volumes(self.work)
        else:
            raise AttributeError(f"a store has no {name!r}")
        # Two threads may both get here; the parts they make are equal, and the first to be filed stays.
        return self.__dict__.setdefault(name, part)


def _prepare(root: str) -> bool:
    """Check the directory itself; whether the store in it has still to be made, in whole or in part."""
    try:
        status = os.stat(root)
    except FileNotFoundError:
        os.makedirs(root, 0o700, exist_ok=True)
        status = os.stat(root)
    if not stat.S_ISDIR(status.st_mode):
        raise StoreError("the store is not a directory", at=root, hint="set PYBUILD_HOME to a directory")
    if status.st_uid != os.geteuid():
        raise StoreError(
            f"the store belongs to {_outside(status.st_uid)}, and this is {_outside(os.geteuid())}",
            at=root,
            hint="set PYBUILD_HOME to a directory of your own",
        )
    if not os.access(root, os.W_OK | os.X_OK):
        raise StoreError("the store is not writable", at=root, hint="set PYBUILD_HOME to a writable directory")
    names = set(os.listdir(root))
    form = _read_format(root) if "format" in names else b""
    if form and form != FORMAT:
        raise StoreError(
            f"the store has format {form.decode('ascii', 'replace').strip()!r}, and this pybuild reads 1",
            at=root,
            hint="use the pybuild that made it, or another directory (PYBUILD_HOME)",
        )
    if not form and not names <= _FILES | _DIRS:
        stranger = sorted(names - _FILES - _DIRS)[0]
        raise StoreError(
            f"the directory is no store, and is not empty ({stranger!r} is in it)",
            at=root,
            hint="set PYBUILD_HOME to a new or empty directory",
        )
    lax = stat.S_IMODE(status.st_mode) & 0o077
    if lax:
        # Layers hold set-uid files of other systems: no one else may get at them.
        if lax & 0o022 and names:
            raise StoreError(
                f"the store is writable by others (mode {stat.S_IMODE(status.st_mode):04o}), who may have changed it",
                at=root,
                hint=f"remove it, or if you trust what is in it: chmod 700 {root!r}",
            )
        os.chmod(root, 0o700)
    return not form or not names >= _DIRS or "boot" not in names


def _outside(uid: int) -> str:
    """A user as those outside of this process's namespace know them; one who is not mapped in it is another.

    The kernel shows each of these as one and the same number (user_namespaces(7)).
    """
    with open("/proc/self/uid_map", encoding="ascii") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
        overflow = int(file.read())
    if len(ranges) > 1 or ranges[0][2] < 1 << 31:
        if uid == overflow:
            return "another user"
        uid = next((outside + uid - first for first, outside, count in ranges if first <= uid < first + count), uid)
    return f"user {uid}"


def is_whole(root: str) -> bool:
    """Whether nothing of the store in a directory has still to be made: neither new nor being removed."""
    try:
        return set(os.listdir(root)) >= _DIRS | {"format", "boot"}
    except OSError:
        return False


def _read_format(root: str) -> bytes:
    try:
        return read_regular(root + "/format", 64) or b""  # empty: torn when the machine went down
    except ValueError as problem:
        raise StoreError(f"the store's format cannot be read: {problem}", at=root + "/format") from problem


def _create(work: Work) -> None:
    """Make what is missing; the format last, so that a store which has one is complete."""
    root = work.root
    for name in _DIRS:
        make_dir(f"{root}/{name}")
    make_dir(f"{root}/blobs/sha256")
    if not os.path.lexists(root + "/boot"):
        from buildkit_py.store.boot import write_mark

        write_mark(work, 0)
    work.write(root + "/format", FORMAT)
