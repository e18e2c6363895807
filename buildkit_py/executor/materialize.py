"""Making the layers of a filesystem present as directories, so that it can be mounted or read.

A layer may be known without being here (a pulled image that nothing has
needed yet) or be here as a blob only (a COPY that no RUN stands on). This is
the one place where such layers are fetched and unpacked, each by one process
at a time, several at once.
"""

from __future__ import annotations

import os

from buildkit_py.errors import SourceError, StoreCorrupt
from buildkit_py.record import Record
from buildkit_py.store.work import make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from buildkit_py.image.unpack import Unpacked
    from buildkit_py.registry.fetch import Fetcher, Stream
    from buildkit_py.sandbox.userns import Identity
    from buildkit_py.store.layers import LayerMeta, TreeLoss
    from buildkit_py.store.store import Store

    Progress: TypeAlias = Callable[[str, int, int], None]

# What LayerMeta.origin says of this machine's own root filesystem, which is a layer like others but never unpacked.
HOST = ("host",)
_HERE = "/"
_AT_ONCE = 4
# The main thread does not notice a signal that comes just before it goes to sleep.
_WAKES = 0.1


class Trees(Record):
    """Layer directories, lowest first; `host`: this machine's own root lies below them."""

    directories: tuple[str, ...]
    host: bool = False

    @property
    def roots(self) -> tuple[str, ...]:
        """All directories that the filesystem is made of, lowest first."""
        return ((_HERE,) if self.host else ()) + self.directories


def _silent(what: str, done: int, total: int) -> None:
    pass


def _ignore(loss: TreeLoss) -> None:
    pass


class Materializer:
    """Gets layers of one store as directories. Shared by threads. `fetcher` is called when a layer is not here.

    `lossy` hears of each directory that lacks owners or devices which this user could not give or make.
    """

    def __init__(
        self,
        store: Store,
        identity: Identity,
        fetcher: Callable[[], Fetcher],
        lossy: Callable[[TreeLoss], object] = _ignore,
    ) -> None:
        self.lossy = lossy
        self._store = store
        self.identity = identity
        self._fetcher = fetcher
        # The directories that were found, _HERE among them; none for an empty layer. What a build uses stays meanwhile.
        self._known: dict[str, tuple[str, ...]] = {}
        self._impure: dict[str, bool] = {}

    def is_impure(self, layers: Sequence[str]) -> bool:
        """Whether a filesystem of these layers stands on this machine's own root, so that it must not leave it."""
        if not layers:
            return False
        lowest = layers[0]
        if lowest not in self._impure:
            meta = self._store.layers.get(lowest)
            self._impure[lowest] = meta is not None and meta.impure
        return self._impure[lowest]

    def trees(self, layers: Sequence[str], progress: Progress = _silent) -> Trees:
        """The directories of these layers, lowest first. `progress(layer, done, total)` counts fetched bytes.

        Their paths are absolute and go through no link.
        Raises `SourceError` where a layer cannot be had, `StoreCorrupt` where it is damaged.
        """
        known = self._known
        new = [layer for layer in dict.fromkeys(layers) if layer not in known]
        wanted = []
        for layer in new:
            found = self._store.layers.trees(layer)
            meta = self._store.layers.get(layer) if not found else None
            if found:
                known[layer] = tuple([os.path.realpath(tree) for tree in found])
                self._mind_loss(layer)
            elif meta is not None and meta.origin == HOST:
                known[layer] = (_HERE,)
            elif meta is not None and meta.empty:
                known[layer] = ()
            else:
                wanted.append(layer)
        if wanted:
            for layer, tree in self._several(wanted, progress).items():
                known[layer] = (os.path.realpath(tree),)
        directories = [directory for layer in layers for directory in known[layer]]
        host = _HERE in directories
        return Trees(tuple([one for one in directories if one != _HERE] if host else directories), host)

    def tree(self, layer: str, progress: Progress = _silent) -> str:
        """The directory of one layer, unpacked from its blob if need be."""
        with self._store.layers.lock(layer):
            tree = self._store.layers.tree(layer)
            if tree is not None:
                self._mind_loss(layer)
                return tree
            meta = self._store.layers.get(layer)
            if meta is None:
                raise StoreCorrupt(
                    f"layer {layer[:12]} is named but not in the store",
                    hint="run `pybuild cache verify`, then build again",
                )
            with self._store.work_dir("unpack") as work:
                destination = work.path + "/diff"
                loss = self.unpack(meta, destination, progress)
                if loss is not None:
                    self.lossy(loss)
                return self._store.layers.add_tree(layer, destination, loss)

    def unpack(self, layer: LayerMeta, destination: str, progress: Progress = _silent) -> TreeLoss | None:
        """Unpack the blob of a layer, fetched if need be, into a new directory; what could not be made of it."""
        from buildkit_py.image.unpack import unpack
        from buildkit_py.registry.origin import variants
        from buildkit_py.registry.tar_digest import prove
        from buildkit_py.store.layers import TreeLoss
        from buildkit_py.store.remove import remove_tree

        id = layer.id

        def use(stream: Stream) -> Unpacked:
            remove_tree(destination)  # of what a mirror sent
            make_root(destination)
            unpacked = unpack(
                stream.read,
                destination,
                media_type=stream.blob.media_type,
                # A built layer may be packed in several ways, and hold other times in each.
                diff_id=stream.blob.diff_id or layer.diff_id,
                userxattr=self.identity.userns,
                privileged=self.identity.privileged,
                ignore_owners=self.identity.single_id,
            )
            if layer.diff_id and self._store.layers.get(id) is not None:
                prove(self._store, id, stream.blob.digest)
            return unpacked

        try:
            unpacked = self._fetcher().through(id, use, lambda done, total: progress(id[:12], done, total))
        except SourceError as problem:
            problem.layer = id  # that it is no archive shows before its digest is known
            # An image may claim any diff_id for its blob. Another image that has the true one must not get this blob.
            for variant in variants(self._store.layers, id):
                self._store.layers.unset_blob(id, variant)
            raise
        if unpacked.owners_lost or unpacked.devices_lost:
            return TreeLoss(unpacked.owners_lost, unpacked.devices_lost)
        return None

    def _mind_loss(self, layer: str) -> None:
        if not self.identity.privileged and (loss := self._store.layers.loss(layer)) is not None:
            self.lossy(loss)

    def _several(self, layers: list[str], progress: Progress) -> dict[str, str]:
        if len(layers) == 1:
            return {layers[0]: self.tree(layers[0], progress)}
        import threading
        from _queue import Empty, SimpleQueue

        todo: SimpleQueue[str] = SimpleQueue()
        for layer in layers:
            todo.put(layer)
        made: dict[str, str] = {}
        problems: list[BaseException] = []

        def work() -> None:
            while not problems:
                try:
                    layer = todo.get_nowait()
                except Empty:
                    return
                try:
                    made[layer] = self.tree(layer, progress)
                except BaseException as problem:  # raised again by the caller's thread
                    problems.append(problem)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_AT_ONCE, len(layers)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_WAKES)
        if problems:
            raise problems[0]
        return made
