"""Snapshots: names for ordered lists of layers, each one link on top of another.

A snapshot's id is `key_of("snapshot", parent, layer)`; the empty list is "".
A link is a sealed file `snapshots/ab/ID` that holds (parent, layer, depth).
"""

from __future__ import annotations

from buildkit_py.digest import is_hex, key_of
from buildkit_py.errors import StoreCorrupt
from buildkit_py.store.faults import store_error
from buildkit_py.store.sealed import read_regular, seal, unseal
from buildkit_py.store.shards import shard_names, shard_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.store.leases import Leases
    from buildkit_py.store.work import Work

# Whole lists that are remembered: of thousands of steps in a row each is long, and only the last are asked for.
_REMEMBERED = 64


class Snapshots:
    """`snapshots/` of a store. Methods raise `ValueError` for an id that is none, and `StoreError`."""

    def __init__(self, work: Work, leases: Leases) -> None:
        self.dir = work.root + "/snapshots"
        self._work = work
        self._leases = leases
        self._links: dict[str, tuple[str, str, int]] = {}
        self._lists: dict[str, tuple[str, ...]] = {"": ()}

    def path(self, id: str) -> str:
        """Where a link is or would be."""
        return shard_path(self.dir, id)

    def push(self, parent: str, layer: str) -> str:
        """The snapshot of one layer on top of another snapshot. Raises `StoreCorrupt` if that one is absent."""
        if not is_hex(layer):
            raise ValueError(f"not a layer id: {layer!r}")
        depth = self.depth(parent) + 1
        id = key_of("snapshot", parent, layer)
        path = self.path(id)
        self._leases.renew(path)  # before looking: what is renewed is not pruned any more
        if self.read(id) is None:
            self._work.write(path, seal((parent, layer, depth)))
        self._links[id] = (parent, layer, depth)
        return id

    def push_all(self, parent: str, layers: Iterable[str]) -> str:
        """The snapshot of several layers, lowest first, on top of another snapshot."""
        for layer in layers:
            parent = self.push(parent, layer)
        return parent

    def layers(self, id: str) -> tuple[str, ...]:
        """The layers of a snapshot, lowest first. Raises `StoreCorrupt` if a link of it is missing or damaged."""
        above: list[str] = []
        at = id
        while (known := self._lists.get(at)) is None:
            at, layer, _ = self._link(at)
            above.append(layer)
        above.reverse()
        whole = known + tuple(above)
        if len(self._lists) > _REMEMBERED:
            self._lists = {"": ()}
        self._lists[id] = whole
        return whole

    def depth(self, id: str) -> int:
        """How many layers a snapshot has. Raises as `layers` does, but looks at the topmost link only."""
        return self._link(id)[2] if id else 0

    def parent(self, id: str) -> str:
        """The snapshot below the topmost layer. Raises as `layers` does."""
        return self._link(id)[0]

    def top(self, id: str) -> str:
        """The topmost layer of a snapshot. Raises as `layers` does."""
        return self._link(id)[1]

    def has(self, id: str) -> bool:
        """Whether a snapshot is there with all its links."""
        try:
            self.layers(id)
        except StoreCorrupt:
            return False
        return True

    def delete(self, id: str) -> bool:
        """Remove one link; False if there was none."""
        self.forget(id)
        return self._work.remove(self.path(id))

    def forget(self, id: str) -> None:
        """Know no more of a link than its file says now."""
        self._links.pop(id, None)
        self._lists = {"": ()}

    def all(self) -> Iterator[tuple[str, str, str, int]]:
        """Every link that can be read, as (id, parent, layer, depth), in no order."""
        for id in self.names():
            link = self.read(id)
            if link is not None:
                yield (id, *link)

    def names(self) -> Iterator[str]:
        """The ids of all links, read or not."""
        return shard_names(self.dir)

    def _link(self, id: str) -> tuple[str, str, int]:
        link = self._links.get(id)
        if link is None:
            self._leases.renew(self.path(id))
            link = self.read(id)
            if link is None:
                raise StoreCorrupt(
                    f"the snapshot {id} is missing or damaged",
                    at=self._work.root,
                    hint="build again to make it anew; `pybuild cache verify` drops what stands on it",
                )
            self._links[id] = link
        return link

    def read(self, id: str) -> tuple[str, str, int] | None:
        """(parent, layer, depth) from disk, which does not count as use.

        None if it is absent or damaged (then it is set aside).
        """
        path = self.path(id)
        try:
            data = read_regular(path)
            if data is None:
                return None
            parent, layer, depth = unseal(data)
            if key_of("snapshot", parent, layer) == id and type(depth) is int:
                return parent, layer, depth
        except (ValueError, TypeError):
            pass
        except OSError as problem:
            raise store_error(problem, self._work.root, "read a snapshot") from problem
        self._work.quarantine(path)
        return None
