"""Making the layers of a filesystem present as directories, so that it can be mounted or read.

A layer may be known without being here (a pulled image that nothing has
needed yet) or be here as a blob only (a COPY that no RUN stands on). This is
the one place where such layers are fetched and unpacked, each by one process
at a time, several at once.
"""

from __future__ import annotations

from buildkit_py.errors import StoreCorrupt
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.sandbox.userns import Identity
    from buildkit_py.store.store import Store

HOST = ("host",)
_AT_ONCE = 4


class Trees(Record):
    """Layer directories, lowest first; `host`: this machine's own root lies below them."""

    directories: tuple[str, ...]
    host: bool = False


def layer_trees(
    store: Store,
    layers: Sequence[str],
    identity: Identity,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Trees:
    """The directories of these layers, lowest first; what is missing is fetched and unpacked.

    Raises `SourceError` where a layer cannot be had, `StoreCorrupt` where it is damaged.
    """
    host = False
    found: list[str | None] = []
    wanted: list[str] = []
    for layer in layers:
        tree = store.layers.tree(layer)
        if tree is None:
            meta = store.layers.get(layer)
            if meta is not None and meta.origin == HOST:
                host = True
                continue
            wanted.append(layer)
        found.append(tree)
    if wanted:
        made = _make(store, list(dict.fromkeys(wanted)), identity, progress)
        waiting = iter(wanted)
        found = [tree if tree is not None else made[next(waiting)] for tree in found]
    return Trees(tuple(tree for tree in found if tree is not None), host)


def _make(
    store: Store, layers: list[str], identity: Identity, progress: Callable[[str, int, int], None]
) -> dict[str, str]:
    if len(layers) == 1:
        return {layers[0]: unpacked(store, layers[0], identity, progress)}
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
                made[layer] = unpacked(store, layer, identity, progress)
            except BaseException as problem:  # raised again by the caller's thread
                problems.append(problem)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_AT_ONCE, len(layers)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return made


def unpacked(store: Store, layer: str, identity: Identity, progress: Callable[[str, int, int], None]) -> str:
    """The directory of one layer, unpacked from its blob if need be."""
    with store.layers.lock(layer):
        tree = store.layers.tree(layer)
        if tree is not None:
            return tree
        meta = store.layers.get(layer)
        if meta is None:
            raise StoreCorrupt(
                f"layer {layer[:12]} is named but not in the store", hint="run `pybuild cache verify`, then build again"
            )
        from buildkit_py.image.unpack import unpack

        with store.work_dir("unpack") as work:
            destination = work.path + "/diff"
            held = store.layers.any_blob(layer)
            if held is not None:
                _, blob = held
                with store.blobs.open(blob.digest) as reader:
                    unpack(
                        reader.read,
                        destination,
                        media_type=blob.media_type,
                        diff_id=blob.diff_id,
                        userxattr=identity.userns,
                        privileged=identity.privileged,
                    )
            else:
                from buildkit_py.registry.fetch import open_blob

                with open_blob(store, layer, lambda done, total: progress(layer[:12], done, total)) as stream:
                    unpack(
                        stream.read,
                        destination,
                        media_type=stream.media_type,
                        diff_id=meta.diff_id,
                        userxattr=identity.userns,
                        privileged=identity.privileged,
                    )
            return store.layers.add_tree(layer, destination)
