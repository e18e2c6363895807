"""Eviction: holding the store to a number of bytes, by letting go first what saves least time for the room it takes.

A result is worth the seconds that making it again would take, for each byte
of disk, and less the longer nobody used it. What others stand on goes after
them. Named images, and what a running build or container uses, never go; so
the number may not be reached, and what is left then is theirs.
"""

from __future__ import annotations

import heapq

from buildkit_py.record import Record
from buildkit_py.store.cache_mounts import last_used
from buildkit_py.store.gc import OTHERS_KEPT, Ages, Prune, alone, modified
from buildkit_py.store.reach import reach
from buildkit_py.store.usage import Share, disk_bytes, layer_bytes, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from buildkit_py.store.store import Store

# Room is made for some builds at once, not for each by itself.
_AIM = 0.9
_DAY = 86_400_000_000_000
# What a cache mount saves is known to nobody: about what a package manager takes to fetch its files.
_MOUNT_SAVES = 60_000


class Evicted(Record):
    """What the store held before and holds now, in bytes of disk, and what went."""

    before: int
    after: int
    gone: tuple[Share, ...] = ()


def evict(store: Store, limit: int, *, dry_run: bool = False) -> Evicted:
    """Bring the store to nine tenths of a limit if it is above that limit. Raises `StoreError`.

    `dry_run`: nothing goes, what is answered would be so.
    """
    total = before = counted_bytes(store)
    if total <= limit:
        return Evicted(before, before)
    with alone(store) as (view, now):
        cutoff = view.leases.oldest(now)
        ages = Ages(cutoff, 0, 0, min(cutoff, now - OTHERS_KEPT))
        unneeded = Prune(view, ages, dry_run=dry_run)
        gone = _joined(unneeded.run())  # what no record needs saves nothing
        total = before - _bytes(gone) if dry_run else counted_bytes(store)
        if total > limit:
            drop = _Choice(view, ages, now, unneeded.live_snapshots).choose(total - int(limit * _AIM))
            more = Prune(view, ages, drop, dry_run=dry_run).run()
            gone = more if dry_run else _joined((*gone, *more))  # what would have gone before is there still
        return Evicted(before, before - _bytes(gone) if dry_run else counted_bytes(store), gone)


def counted_bytes(store: Store) -> int:
    """What the store holds and may let go. What containers wrote is no part of it: it drives nothing out."""
    return _bytes(share for share in usage(store) if share.kind not in ("volumes", "containers"))


def _bytes(shares: Iterable[Share]) -> int:
    return sum(share.bytes for share in shares)


def _joined(shares: Iterable[Share]) -> tuple[Share, ...]:
    kinds: dict[str, Share] = {}
    for share in shares:
        old = kinds.get(share.kind, Share(share.kind, 0, 0))
        kinds[share.kind] = Share(share.kind, old.count + share.count, old.bytes + share.bytes)
    return tuple(kinds.values())


class _Choice:
    """Which records and cache mounts to drop, of what stays by itself: `snapshots`, and all that has its age (`ages`).

    What was used since `ages.cutoff` stays (nanoseconds, as `now`).
    """

    def __init__(self, store: Store, ages: Ages, now: int, snapshots: AbstractSet[str]) -> None:
        self._store = store
        self._ages = ages
        self._now = now
        self._records: dict[str, list[tuple[str, int, int]]] = {}  # of a snapshot: key, milliseconds, last use
        links = store.snapshots.all()
        self._links = {id: (parent, layer) for id, parent, layer, _ in links if id in snapshots}
        self._above = dict.fromkeys(self._links, 0)
        self._tops: dict[str, int] = {}
        self._held = self._held_layers()
        for key in store.records.names():
            record = store.records.read(key, parts=False)
            if record is not None:
                entry = (key, record.milliseconds, modified(store.records.path(key)))
                self._records.setdefault(record.snapshot, []).append(entry)
        for parent, layer in self._links.values():
            self._tops[layer] = self._tops.get(layer, 0) + 1
            if parent in self._above:
                self._above[parent] += 1

    def choose(self, wanted: int) -> frozenset[str]:
        """Keys of records and paths of cache mounts, which together free about so many bytes, if there are enough."""
        heap: list[tuple[float, str, int]] = []
        for id, above in self._above.items():
            if not above:
                self._push(heap, id)
        for _, home in self._store.mounts.all():
            if self._ages.others <= last_used(home) < self._ages.cutoff:
                size = disk_bytes(home)
                heapq.heappush(heap, (self._worth(_MOUNT_SAVES, size, last_used(home)), home, size))
        drop: set[str] = set()
        freed = 0
        while heap and freed < wanted:
            _, name, size = heapq.heappop(heap)
            freed += size
            if name not in self._links:
                drop.add(name)
                continue
            drop.update(key for key, _, _ in self._records.get(name, ()))
            parent, layer = self._links[name]
            self._tops[layer] -= 1
            if parent in self._above:
                self._above[parent] -= 1
                if not self._above[parent]:
                    self._push(heap, parent)
        return frozenset(drop)

    def _push(self, heap: list[tuple[float, str, int]], id: str) -> None:
        """Offer a filesystem that no other stands on, unless it is in use; then all below it is, too."""
        records = self._records.get(id, [])
        used = max([modified(self._store.snapshots.path(id)), *(last for _, _, last in records)])
        if used >= self._ages.cutoff:
            return
        _, layer = self._links[id]
        only_here = self._tops[layer] == 1 and layer not in self._held
        size = layer_bytes(self._store, layer) if only_here else 0
        heapq.heappush(heap, (self._worth(max((ms for _, ms, _ in records), default=0), size, used), id, size))

    def _worth(self, milliseconds: int, size: int, used: int) -> float:
        idle = max(0, self._now - used) / _DAY
        return milliseconds / max(size, 1) / (1 + idle)

    def _held_layers(self) -> frozenset[str]:
        """Layers that named images and containers need."""
        diff_ids: set[str] = set()
        blobs: set[str] = set()
        for _, manifest, _ in self._store.images.all():
            needs = reach(self._store.blobs, manifest)
            diff_ids |= needs.diff_ids
            blobs |= needs.blobs
        stood_on = {layer for about in self._store.containers.all() for layer in about.layers}
        return frozenset(
            meta.id
            for meta in self._store.layers.all()
            if meta.id in stood_on
            or (meta.diff_id or f"sha256:{meta.id}") in diff_ids
            or not blobs.isdisjoint(self._packed(meta.id))
        )

    def _packed(self, layer: str) -> set[str]:
        """The digests of the blobs that a layer is packed in."""
        layers = self._store.layers
        noted = (layers.described(layer, variant) for variant in layers.variants(layer))
        return {blob.digest for blob in noted if blob is not None}
