"""Room: what of the store's disk space goes to which step, target, cache mount or image."""

from __future__ import annotations

from buildkit_py.api.cache import owned
from buildkit_py.record import Record
from buildkit_py.store.usage import disk_bytes, layer_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.store.store import Store


class Place(Record):
    """Something that takes room: `bytes` of disk, of which it shares `shared` with others of the list.

    `milliseconds` is how long it took to make, 0 where that is not known.
    """

    name: str
    bytes: int
    shared: int = 0
    milliseconds: int = 0


def room(view: str, *, store: str = "") -> tuple[Place, ...]:
    """What takes how much, most first. `view` is step, target, mount or image; others raise `ValueError`."""
    opened = owned(store)
    opened.leases.renews = False
    match view:
        case "step":
            places = _by_layers(opened, _steps(opened))
        case "target":
            places = _by_layers(opened, _targets(opened))
        case "image":
            places = _by_layers(opened, _images(opened))
        case "mount":
            places = [Place(id, disk_bytes(home)) for id, home in opened.mounts.all()]
        case _:
            raise ValueError(f"no such view: {view!r}")
    return tuple(sorted(places, key=lambda place: (-place.bytes, place.name)))


class _Item(Record):
    """A name, the layers it stands for, and how long they took."""

    name: str
    layers: frozenset[str]
    milliseconds: int = 0


def _by_layers(store: Store, items: Iterable[_Item]) -> list[Place]:
    # By path: a layer that has two ids, a step's and that of its tar, is packed in one blob for both.
    taken = [(item, {path for layer in item.layers for path in layer_paths(store, layer)}) for item in items]
    users: dict[str, int] = {}
    for _, paths in taken:
        for path in paths:
            users[path] = users.get(path, 0) + 1
    sizes = {path: disk_bytes(path) for path in users}
    return [
        Place(
            item.name,
            sum(sizes[path] for path in paths),
            sum(sizes[path] for path in paths if users[path] > 1),
            item.milliseconds,
        )
        for item, paths in taken
    ]


def _steps(store: Store) -> list[_Item]:
    """Each layer that a step made, by the name of the step that made it first."""
    found: dict[str, _Item] = {}
    for _, record in store.records.all():
        if record.layer and (record.layer not in found or record.milliseconds > found[record.layer].milliseconds):
            found[record.layer] = _Item(record.name, frozenset((record.layer,)), record.milliseconds)
    return list(found.values())


def _targets(store: Store) -> list[_Item]:
    """Each target of each file as its newest build had it, with all that its steps added."""
    found: dict[str, _Item] = {}
    for build in store.builds.records():
        for name, position in build.targets:
            title = f"{build.file}:{name}"
            if title in found or position < 0:
                continue
            steps, wanted = build.steps, [position]
            seen: set[int] = set()
            while wanted:
                at = wanted.pop()
                if at >= 0 and at not in seen:
                    seen.add(at)
                    wanted += [steps[at].base, *steps[at].sources]
            layers = frozenset(steps[at].layer for at in seen if steps[at].layer)
            found[title] = _Item(title, layers, sum(_took(store, steps[at].definition) for at in seen))
    return list(found.values())


def _took(store: Store, definition: str) -> int:
    record = store.records.read(definition, parts=False) if definition else None
    return record.milliseconds if record is not None else 0


def _images(store: Store) -> list[_Item]:
    """Each name with the layers of its image, which the store has under the ids of steps or under their diff_ids."""
    from buildkit_py.store.reach import reach

    known: dict[str, list[str]] = {}
    for meta in store.layers.all():
        for variant in store.layers.variants(meta.id):
            blob = store.layers.described(meta.id, variant)
            if blob is not None:
                known.setdefault(blob.digest, []).append(meta.id)
    items = []
    for name, manifest, _ in store.images.all():
        needs = reach(store.blobs, manifest)
        items.append(_Item(name, frozenset(layer for digest in needs.blobs for layer in known.get(digest, ()))))
    return items
