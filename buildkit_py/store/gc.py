"""Garbage collection: making the store smaller without taking anything from a running build.

Two things make it safe while builds run. Whatever a build uses is renewed
(`leases.py`), and what is newer than the oldest living build is a root. And
things go in the order in which they name each other: records, snapshots,
layers, blobs; each is moved aside while nobody can renew it, and then looked
at once more. If it was written anew just before, it is put back, and all that
it names stays. So a build finds a thing whole, or does not find it and makes
it again.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager

from buildkit_py.digest import is_hex
from buildkit_py.record import Record
from buildkit_py.store.boot import now_of
from buildkit_py.store.cache_mounts import last_used
from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import Lock
from buildkit_py.store.reach import reach
from buildkit_py.store.remove import remove_tree
from buildkit_py.store.usage import Share, disk_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from buildkit_py.store.store import Store

_DAY = 86_400_000_000_000
RECORDS_KEPT = 7 * _DAY
OTHERS_KEPT = 30 * _DAY  # logs, cache mounts, jobs, memos, scans, notes of sources
# Files of one tick of the kernel's clock have the same time (CONFIG_HZ is 100 at least).
_TICK = 0.011


def prune(store: Store, all: bool = False, *, dry_run: bool = False) -> tuple[Share, ...]:
    """Remove what is no longer needed; a share for each kind of which something went.

    Without `all` this keeps the images with all they need, and what records
    used in the last seven days need. With `all` nothing is left but what
    running builds use. `dry_run`: nothing goes, the shares say what would.
    Raises `StoreError` if something cannot be removed.
    """
    with alone(store) as (view, now):
        cutoff = view.leases.oldest(now)
        if all:
            return Prune(view, Ages(cutoff, cutoff, cutoff, cutoff), dry_run=dry_run).run()
        ages = Ages(cutoff, 0, min(cutoff, now - RECORDS_KEPT), min(cutoff, now - OTHERS_KEPT))
        return Prune(view, ages, dry_run=dry_run).run()


@contextmanager
def alone(store: Store) -> Iterator[tuple[Store, int]]:
    """Be the only one who makes the store smaller; a view of it that renews nothing, and the time by its clock."""
    with Lock(store.path("locks", "prune")):
        time.sleep(_TICK)  # so that what was finished before this call is older than `now`
        yield store.view(sets_aside=True), now_of(store.work)


class Ages(Record):
    """What may go, by when it was last used (nanoseconds): things from before these times.

    `cutoff`: what is newer may be in use, and is a root; no other time is later.
    """

    cutoff: int
    images: int
    records: int
    others: int


class Prune:
    """One run. Of records and cache mounts those in `drop`, keys and paths, go from before `ages.cutoff` on."""

    def __init__(
        self, store: Store, ages: Ages, drop: AbstractSet[str] = frozenset(), *, dry_run: bool = False
    ) -> None:
        self.store = store
        self.cutoff = ages.cutoff
        self.records_before = ages.records
        self.others_before = ages.others
        self.images_before = ages.images
        self.drop = drop
        self.dry_run = dry_run
        self.gone: dict[str, tuple[int, int]] = {}
        self.refused: OSError | None = None  # the first thing that could not be removed
        self.live_snapshots: set[str] = set()
        self.live_layers: set[str] = set()
        self.live_blobs: set[str] = set()
        self.live_diff_ids: set[str] = set()

    def run(self) -> tuple[Share, ...]:
        try:
            if not self.dry_run:
                self._count("work", *self.store.work.sweep(disk_bytes))
            self._images()
            self._containers()
            self._records()
            self._snapshots()
            self._layers()
            self._blobs()
            self._mounts()
            self._failed()
            self._others()
            if not self.dry_run:
                self._locks()
        except OSError as problem:
            raise store_error(problem, self.store.root, "prune the store") from problem
        if self.refused is not None:
            raise store_error(self.refused, self.store.root, "prune all of the store") from self.refused
        return tuple(Share(kind, count, size) for kind, (count, size) in self.gone.items() if count)

    def _images(self) -> None:
        stays: dict[str, bool] = {}  # a name may come with several manifests
        for name, manifest, _ in self.store.images.all():
            if name not in stays:
                stays[name] = not self._take("images", self.store.images.path(name), self.images_before)
            if stays[name]:
                needs = reach(self.store.blobs, manifest)
                self.live_blobs |= needs.blobs
                self.live_diff_ids |= needs.diff_ids

    def _containers(self) -> None:
        """Containers stay, whatever their age, until somebody removes them; so do the layers that they stand on."""
        for about in self.store.containers.all():
            self.live_layers.update(about.layers)

    def _records(self) -> None:
        old = []
        for key in self.store.records.names():
            if modified(self.store.records.path(key)) >= self._before(key, self.records_before):
                self._keep_record(key)
            else:
                old.append(key)
        for key in old:
            path = self.store.records.path(key)
            if not self._take("records", path, self._before(key, self.records_before)):
                self._keep_record(key)
        self._drop_empty(self.store.records.dir)

    def _before(self, name: str, others: int) -> int:
        """From before when a thing of that name may go."""
        return self.cutoff if name in self.drop else others

    def _keep_record(self, key: str) -> None:
        record = self.store.records.read(key, parts=False)
        if record is not None:
            self.live_layers.add(record.layer)
            self._keep_snapshot(record.snapshot)

    def _keep_snapshot(self, id: str) -> None:
        while id and id not in self.live_snapshots and is_hex(id):
            link = self.store.snapshots.read(id)
            if link is None:
                return
            self.live_snapshots.add(id)
            self.live_layers.add(link[1])
            id = link[0]

    def _snapshots(self) -> None:
        links = list(self.store.snapshots.all())
        for id, _, _, _ in links:
            if modified(self.store.snapshots.path(id)) >= self.cutoff:
                self._keep_snapshot(id)
        # Those on top first: one that turns out to be used keeps all below it.
        for id, _, _, _ in sorted(links, key=lambda link: -link[3]):
            if id not in self.live_snapshots and not self._take(
                "snapshots", self.store.snapshots.path(id), self.cutoff
            ):
                self._keep_snapshot(id)
        self._drop_empty(self.store.snapshots.dir)

    def _layers(self) -> None:
        metas = [(self.store.layers.under(meta.id), meta) for meta in self.store.layers.all()]
        # Patches first: each that stays keeps the layer it is a patch of, which is none itself.
        for under, meta in sorted(metas, key=lambda pair: not pair[0]):
            variants = self.store.layers.variants(meta.id)
            packed = {b.digest for v in variants if (b := self.store.layers.described(meta.id, v)) is not None}
            needed = (
                meta.id in self.live_layers
                or (meta.diff_id or f"sha256:{meta.id}") in self.live_diff_ids
                or not packed.isdisjoint(self.live_blobs)
            )
            if needed or not self._take("layers", self.store.layers.path(meta.id), self.cutoff, "/meta"):
                self.live_blobs |= packed
                self.live_layers.add(under)

    def _blobs(self) -> None:
        for digest, _ in list(self.store.blobs.all()):
            if digest not in self.live_blobs:
                self._take("blobs", self.store.blobs.path(digest), self.cutoff)

    def _mounts(self) -> None:
        for _, home in list(self.store.mounts.all()):
            before = self._before(home, self.others_before)
            if last_used(home) < before:
                size = disk_bytes(home)
                if self.dry_run or self.store.mounts.delete(home, before):
                    self._count("mounts", 1, size)

    def _failed(self) -> None:
        """What failed steps left goes whatever its age: nothing is made of it."""
        for id in self.store.failed.all():
            path = self.store.failed.path(id)
            if modified(path) < self.cutoff:
                size = disk_bytes(path)
                if self.dry_run or self.store.failed.delete(id):
                    self._count("failed", 1, size)

    def _others(self) -> None:
        for id in self.store.builds.all():
            path = self.store.builds.path(id)
            if _newest(path) < self.others_before:
                self._take("builds", path, self.others_before)
        for kind in ("jobs", "memo", "scans", "sources"):
            for path in _files(self.store.path(kind)):
                self._take(kind, path, self.others_before)
        for name in os.listdir(self.store.path("quarantine")):
            path = self.store.path("quarantine", name)
            size = disk_bytes(path)
            if self.dry_run or self.store.work.remove(path):
                self._count("quarantine", 1, size)

    def _locks(self) -> None:
        """Lock files of the dead; those that are held, the one of this run among them, stay."""
        for name in os.listdir(self.store.path("locks")):
            lock = Lock(self.store.path("locks", name))
            if lock.acquire(wait=False):
                lock.release()

    def _take(self, kind: str, path: str, before: int, stamp: str = "") -> bool:
        """Remove a thing that was last used before a time; False if it stays.

        `stamp` is the file in it that has its age.
        """
        if self.dry_run:
            old = modified(path + stamp) < before
            if old:
                self._count(kind, 1, disk_bytes(path))
            return old
        with self.store.leases.unrenewed():
            if modified(path + stamp) >= before:
                return False
            moved = self.store.work.aside(path)
        if not moved:
            return True  # another one removed it
        if modified(moved + stamp) >= before:
            _put_back(moved, path)
            return False
        size = disk_bytes(moved)
        try:
            remove_tree(moved)
        except PermissionError as problem:  # its ids are not mapped here: what is left may go all the same
            self.refused = self.refused or problem
            return True
        self._count(kind, 1, size)
        return True

    def _drop_empty(self, dir: str) -> None:
        """Remove the shards in which nothing is left; a writer that needs one makes it again."""
        for name in os.listdir(dir) if not self.dry_run else ():
            try:
                os.rmdir(f"{dir}/{name}")
            except OSError:
                pass  # not empty

    def _count(self, kind: str, count: int, size: int) -> None:
        old = self.gone.get(kind, (0, 0))
        self.gone[kind] = (old[0] + count, old[1] + size)


def modified(path: str) -> int:
    """When a thing was last used (nanoseconds); 0 if that cannot be told, because it is gone or damaged."""
    try:
        return os.lstat(path).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _put_back(moved: str, path: str) -> None:
    """Undo a move, unless the same thing was made anew meanwhile."""
    try:
        if stat.S_ISDIR(os.lstat(moved).st_mode):
            os.rename(moved, path)
            return
        os.link(moved, path)
    except OSError:
        if not os.path.lexists(path):
            raise
    remove_tree(moved)


def _newest(dir: str) -> int:
    """The latest modification of a directory or a file in it (appending to a log leaves its directory's alone)."""
    try:
        return max([modified(dir), *(modified(f"{dir}/{name}") for name in os.listdir(dir))])
    except (FileNotFoundError, NotADirectoryError):
        return modified(dir)


def _files(dir: str) -> list[str]:
    found = []
    for base, _, names in os.walk(dir):
        found += [f"{base}/{name}" for name in names]
    return found
