"""Usage: how much of the disk each kind of thing in the store takes, in the blocks the filesystem gives it."""

from __future__ import annotations

import os
import stat

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.store import Store

# Directory and depth at which one thing of that kind stands.
_KINDS = (
    ("blobs", "blobs/sha256", 1),
    ("layers", "layers", 1),
    ("snapshots", "snapshots", 2),
    ("records", "records", 2),
    ("images", "images", 1),
    ("mounts", "mounts", 1),
    ("builds", "builds", 1),
    ("containers", "containers", 1),
    ("failed", "failed", 1),
    ("jobs", "jobs", 1),
    ("memo", "memo", 1),
    ("scans", "scans", 1),
    ("sources", "sources", 1),
    ("volumes", "volumes", 1),
    ("work", "work", 1),
    ("quarantine", "quarantine", 1),
)


class Share(Record):
    """How many things of a kind, and how many bytes of disk they take (or took)."""

    kind: str
    count: int
    bytes: int


def usage(store: Store) -> tuple[Share, ...]:
    """What the store holds, a share for each kind, in a fixed order; what others remove meanwhile is not counted."""
    return tuple(
        Share(kind, sum(1 for _ in _things(store.path(dir), depth)), disk_bytes(store.path(dir)))
        for kind, dir, depth in _KINDS
    )


def disk_bytes(path: str) -> int:
    """Bytes of disk below and including a path; a file with several names there counts once.

    What this process may not look at counts as nothing.
    """
    total = 0
    linked: set[tuple[int, int]] = set()
    pending = [path]
    while pending:
        at = pending.pop()
        try:
            status = os.lstat(at)
            if stat.S_ISDIR(status.st_mode):
                with os.scandir(at) as entries:
                    pending.extend(entry.path for entry in entries)
            elif status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in linked:
                    continue
                linked.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
        except OSError:
            continue
    return total


def layer_bytes(store: Store, layer: str) -> int:
    """Bytes of disk that a layer takes, with the blobs that it is packed in."""
    return sum(map(disk_bytes, layer_paths(store, layer)))


def layer_paths(store: Store, layer: str) -> set[str]:
    """Where a layer takes room: its directory, and blobs that it is packed in, which others may be, too."""
    noted = (store.layers.described(layer, variant) for variant in store.layers.variants(layer))
    return {store.layers.path(layer), *(store.blobs.path(blob.digest) for blob in noted if blob is not None)}


def _things(dir: str, depth: int) -> list[str]:
    try:
        names = [f"{dir}/{name}" for name in os.listdir(dir)]
    except OSError:
        return []
    return names if depth == 1 else [thing for name in names for thing in _things(name, depth - 1)]
