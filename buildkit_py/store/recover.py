"""Recovery after the machine went down: what was not on disk by then is checked where it can be, else dropped.

Runs once a boot, before anything is used, with other processes kept waiting.
Records, snapshots and descriptions of layers are sealed, and fail their seal
when they are read; a blob hashes to its name or not. Only the files of a tree
cannot be told from torn ones, so trees newer than the mark are dropped and
unpacked or built again.
"""

from __future__ import annotations

import os

from buildkit_py.errors import StoreCorrupt
from buildkit_py.store.boot import read_mark, this_boot, write_mark
from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.store import Store

# Plain caches of others, not sealed by us, cheap to make again.
_CACHES = ("memo", "scans", "sources")


def recover(store: Store) -> None:
    """Bring a store that was last used under another boot into a state that can be trusted. Raises `StoreError`."""
    with Lock(store.path("locks", "recover")):
        if this_boot(store.root) is not None:
            return  # another process did it while this one waited
        now = 2**63 - 1
        if store.leases.oldest(now) != now:
            return  # in use this very moment, so by another machine that shares the directory: nothing went down
        _, synced = read_mark(store.root)
        try:
            for dir in _CACHES:
                _drop_newer(store.path(dir), synced)
            _check_blobs(store, synced)
            _drop_trees(store, synced)
            _drop_failed(store, synced)
        except OSError as problem:
            raise store_error(problem, store.root, "recover the store") from problem
        # Not the present time: what was kept is sound, but only a sync can say that it is on disk.
        write_mark(store.work, synced)


def _drop_newer(dir: str, synced: int) -> None:
    with os.scandir(dir) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _drop_newer(entry.path, synced)
            elif entry.stat(follow_symlinks=False).st_ctime_ns >= synced:
                os.unlink(entry.path)


def _check_blobs(store: Store, synced: int) -> None:
    for digest, _ in list(store.blobs.all()):
        if os.lstat(store.blobs.path(digest)).st_ctime_ns >= synced:
            try:
                with store.blobs.open(digest) as reader:
                    while reader.read(1 << 20):
                        pass
            except StoreCorrupt:
                continue  # the reader set it aside


def _drop_trees(store: Store, synced: int) -> None:
    for name in os.listdir(store.layers.dir):
        for kind in ("diff", "patch"):
            tree = f"{store.layers.dir}/{name}/{kind}"
            try:
                changed = os.lstat(tree).st_ctime_ns
            except (FileNotFoundError, NotADirectoryError):
                continue
            if changed >= synced:
                store.work.remove(tree)


def _drop_failed(store: Store, synced: int) -> None:
    for id in store.failed.all():
        if os.lstat(store.failed.path(id)).st_ctime_ns >= synced:
            store.failed.delete(id)
