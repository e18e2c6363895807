"""The content of a filesystem as a chain of its layers' contents, and the names of built layers that follow from it."""

from __future__ import annotations

from buildkit_py.digest import key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.store import Store


def layer_id(base_content: str, content: str, times: str = "") -> str:
    """The name of a layer: what it changes, on which base.

    The base takes part because file times are no part of `content`: two
    unrelated builds that make equal files must not share each other's times.
    `times` stands for those that a step gave its files itself, "" where it gave none.
    """
    return key_of("layer", base_content, content, times) if times else key_of("layer", base_content, content)


def chain(base_content: str, layer_content: str, empty: bool) -> str:
    """The content digest of a filesystem with one more layer; a layer that changes nothing adds nothing."""
    return base_content if empty else key_of("chain", base_content, layer_content)


def content_of(store: Store, snapshot: str) -> str:
    """The content digest of a filesystem; "" for the empty one. Raises `StoreCorrupt` if a layer of it is unknown."""
    known = store.contents
    above: list[str] = []
    at = snapshot
    while at not in known:
        above.append(at)
        at = store.snapshots.parent(at)
    for id in reversed(above):
        layer = store.snapshots.top(id)
        meta = store.layers.get(layer)
        if meta is None:
            from buildkit_py.errors import StoreCorrupt

            raise StoreCorrupt(f"layer {layer[:12]} is gone from the store", hint="build again with --no-cache")
        known[id] = chain(known[at], meta.content, meta.empty)
        at = id
    return known[snapshot]
