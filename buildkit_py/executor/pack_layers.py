"""Packing layers that the store has as files into the blobs that an image names, ahead of when they are asked for.

Packing begins when a step's layer is there, in a thread of its own, while
later steps run; whoever needs the blob waits for that one only.
"""

from __future__ import annotations

from _thread import allocate_lock

from buildkit_py.store.layers import LayerBlob
from buildkit_py.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.executor.materialize import Materializer
    from buildkit_py.image.entry import Entry
    from buildkit_py.image.pack import Packed
    from buildkit_py.image.recompress import Recompressed
    from buildkit_py.store.store import Store

ORIGIN = "origin"
NONE = "none"
# `pack` itself keeps two threads busy with one layer.
_AT_ONCE = 1
# The main thread does not notice a signal that comes just before it goes to sleep.
_WAKES = 0.1


class _Task:
    """A layer's packing, by one thread, and what others who want its blob wait for."""

    def __init__(self) -> None:
        self._got: LayerBlob | BaseException | None = None
        self._running = allocate_lock()
        self._running.acquire()

    def settle(self, got: LayerBlob | BaseException) -> None:
        """It came to this."""
        self._got = got
        self._running.release()

    def result(self) -> LayerBlob:
        """The blob, once it is there. Raises what packing raised."""
        while not self._running.acquire(timeout=_WAKES):
            pass
        self._running.release()
        assert self._got is not None
        if isinstance(self._got, BaseException):
            raise self._got
        return self._got


class Packer:
    """Packs layers of `store` with one compression. `epoch`: later times become these seconds.

    `force`: pulled layers are packed anew, too. `spare` is done once in the thread that packs ahead, when it has
    nothing left: commands run then.
    """

    def __init__(
        self,
        store: Store,
        materializer: Materializer,
        compression: str,
        level: int = 0,
        epoch: int | None = None,
        *,
        force: bool = False,
        spare: Callable[[], object] | None = None,
    ) -> None:
        self._force = force
        self._spare = spare
        self._store = store
        self._materializer = materializer
        self._compression = compression
        self._level = level
        self._epoch = epoch
        self.variant = variant(compression, level, epoch)
        self._lock = allocate_lock()
        self._queue: list[str] = []
        self._tasks: dict[str, _Task] = {}
        self._threads = 0

    def begin(self, layer: str) -> None:
        """Pack a layer in the background, if it is not packed yet."""
        with self._lock:
            if layer in self._tasks:
                return
            self._tasks[layer] = _Task()
            self._queue.append(layer)
            if self._threads < _AT_ONCE:
                self._threads += 1
                Thread(self._work)

    def blob(self, layer: str) -> LayerBlob:
        """The blob of a layer; waits for it or makes it. Raises what packing raised."""
        with self._lock:
            task = self._tasks.get(layer)
            mine = task is None or layer in self._queue
            if task is None:
                task = self._tasks[layer] = _Task()
            elif mine:
                self._queue.remove(layer)
        if mine:
            self._settle(layer, task)
        return task.result()

    def forget(self) -> None:
        """Ask the store again for each blob, some cannot be had after all; also for those that are being made now."""
        with self._lock:
            self._tasks = {layer: self._tasks[layer] for layer in self._queue}

    def _work(self) -> None:
        while True:
            with self._lock:
                layer, task, spare = "", None, None
                if self._queue:
                    layer = self._queue.pop(0)
                    task = self._tasks[layer]
                elif self._spare is not None:
                    spare, self._spare = self._spare, None
                else:
                    self._threads -= 1
                    return
            if task is not None:
                self._settle(layer, task)
            elif spare is not None:
                spare()

    def _settle(self, layer: str, task: _Task) -> None:
        try:
            task.settle(self._make(layer))
        except BaseException as problem:  # of whoever waits for this blob
            with self._lock:
                if self._tasks.get(layer) is task:
                    del self._tasks[layer]  # who asks later may ask for one that was made again since
            task.settle(problem)

    def _make(self, layer: str) -> LayerBlob:
        """Find or make the blob. A pulled layer keeps the blob it came as: its image names that one."""
        layers = self._store.layers
        held = None if self._force else layers.described(layer, ORIGIN)
        held = held or layers.blob(layer, self.variant) or self._elsewhere(layer)
        if held is not None:
            return held
        plain = layers.blob(layer, NONE) if self._epoch is None else None
        trees = () if plain is not None else self._materializer.trees((layer,)).directories
        with layers.lock(layer):
            held = layers.blob(layer, self.variant)
            if held is not None:
                return held
            blob = self._patched(layer, trees) if len(trees) > 1 else None
            if blob is None:
                with self._store.blobs.writer(hashed=True) as writer:
                    packed = self._pack(layer, writer.write, plain, trees)
                    writer.commit(packed.digest)
                blob = LayerBlob(packed.diff_id, packed.digest, packed.size, packed.media_type)
            layers.set_blob(layer, self.variant, blob)
            return blob

    def _elsewhere(self, layer: str) -> LayerBlob | None:
        """The blob of a layer from a portable cache, if it is packed so there; who needs its bytes fetches them."""
        meta = self._store.layers.get(layer)
        if meta is None or not meta.origin or self._store.layers.trees(layer):
            return None
        return self._store.layers.described(layer, self.variant)

    def _patched(self, layer: str, trees: tuple[str, ...]) -> LayerBlob | None:
        """The blob of a layer that is a patch, made from the blob of the layer below it; None where it cannot be."""
        if self._epoch is not None:
            return None  # the older blob has the times that its files have
        from buildkit_py.executor.patch_layer import spliced
        from buildkit_py.image.overlay_diff import diff

        changes = diff(trees[1], hash_files=False)
        return spliced(self._store, self._store.layers.under(layer), changes, self._compression, self._level)

    def _pack(
        self, layer: str, write: Callable[[bytes], object], plain: LayerBlob | None, trees: tuple[str, ...]
    ) -> Packed | Recompressed:
        if plain is not None:
            from buildkit_py.image.recompress import recompress

            with self._store.blobs.open(plain.digest) as reader:
                return recompress(reader.read, write, compression=self._compression, level=self._level)
        from buildkit_py.image.overlay_diff import diff, laid_over
        from buildkit_py.image.pack import pack

        entries: list[Entry] = []
        for tree in trees:
            entries = laid_over(entries, diff(tree, hash_files=False))
        ends: bytearray | None = None
        if self._epoch is None:
            from buildkit_py.executor.patch_layer import keep_members, wants_members

            if wants_members(self._store, layer):
                ends = bytearray()
        packed = pack(entries, write, compression=self._compression, level=self._level, epoch=self._epoch, ends=ends)
        if ends is not None:
            keep_members(self._store, layer, packed.diff_id, entries, ends)
        return packed


def variant(compression: str, level: int, epoch: int | None) -> str:
    """The name under which a layer's blob of this kind is kept."""
    name = compression
    if level:
        name += f"-{level}"
    if epoch is not None:
        name += f"-e{epoch}"
    return name
