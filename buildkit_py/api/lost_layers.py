"""Lost layers: results whose files can be had nowhere any more, which the store must not promise."""

from __future__ import annotations

import os

from buildkit_py.registry import origin as origins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.registry.origin import Origin
    from buildkit_py.store.layers import LayerMeta
    from buildkit_py.store.store import Store


def forget(store: Store, layer: str) -> tuple[LayerMeta, ...]:
    """Give up a layer that a step made and whose files cannot be had; what it was, none if it is no such layer.

    `layer` is its id, or the hex of its diff_id, by which images know it. A
    pulled layer stays: no step can make it again. With it go others that were
    to come from the same place and cannot either, so that a cache that went
    away is noticed once and not layer by layer.
    """
    named = store.layers.get(layer)
    if named is not None and _is_built(named):
        lost = [named]
    else:
        lost = [meta for meta in store.layers.all() if meta.diff_id == f"sha256:{layer}" and _is_built(meta)]
    places = [origins.read(text) for meta in lost for text in meta.origin]
    if places:
        lost += [meta for meta in _elsewhere(store) if meta not in lost and _shares(meta, places)]
    for meta in lost:
        store.layers.lose(meta.id)
        alias = store.layers.get(meta.diff_id.removeprefix("sha256:")) if meta.diff_id else None
        if alias is not None and alias.origin and not store.layers.trees(alias.id):
            store.layers.lose(alias.id)
    return tuple(lost)


def _is_built(meta: LayerMeta) -> bool:
    return meta.diff_id != f"sha256:{meta.id}" and not meta.impure


def _elsewhere(store: Store) -> Iterator[LayerMeta]:
    """The built layers that are only known so far."""
    for meta in store.layers.all():
        is_known = meta.origin and _is_built(meta)
        if is_known and not store.layers.trees(meta.id) and store.layers.any_blob(meta.id) is None:
            yield meta


def _shares(meta: LayerMeta, places: list[Origin]) -> bool:
    """Whether a layer was to come from one of these places, where it is not (or, of a registry, may not be)."""
    for place in (origins.read(text) for text in meta.origin):
        if place.data:
            continue
        if place.piece is None:
            if any((other.name, _above(other.url)) == (place.name, _above(place.url)) for other in places):
                return True
        elif any(other.piece and _directory(other) == _directory(place) for other in places):
            try:
                if os.stat(place.piece.path).st_size < place.piece.offset + place.size:
                    return True
            except OSError:
                return True
    return False


def _above(url: str) -> str:
    return url.rpartition("/")[0]


def _directory(place: Origin) -> str:
    return os.path.dirname(place.piece.path) if place.piece is not None else ""
