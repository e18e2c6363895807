"""Making a layer out of the one that the same COPY made last, where it differs from that in a few entries.

Which those are, the entries themselves say, digests included, so nothing is
believed of the older layer but what it is. Its files are not written again:
the new layer is a patch of its tree (`store/layers.py`). Nor are they read
again: the new blob is spliced from its blob (`image/splice.py`). Both are what
making the layer from the start would give; where they could not be, it is.
"""

from __future__ import annotations

from _operator import itemgetter

from buildkit_py.errors import ContextError, SourceError, StoreCorrupt
from buildkit_py.executor.inventory import Inventory, inventory_of
from buildkit_py.image.entry import DIR, HARDLINK, WHITEOUT, Entry
from buildkit_py.record import Record
from buildkit_py.store.layers import LayerBlob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.image.splice import Members
    from buildkit_py.image.union import Union
    from buildkit_py.store.store import Store

# Smaller layers are made from the start in no time.
WORTH = 500
# A patch that has more than this part of the entries is not worth it, and patches of patches there are none.
_LARGEST_PART = 8
_INVENTORY, _MEMBERS = "inventory", "members"


class Patch(Record):
    """What a new layer has otherwise than the layer `under`: entries in their order, and paths that are gone.

    `entries` are only what changed; `turned`: something became a directory, or was one.
    """

    under: str
    entries: tuple[Entry, ...]
    lost: tuple[str, ...]
    turned: bool


def keep_inventory(store: Store, layer: str, entries: Sequence[Entry], digests: bytes | bytearray) -> bool:
    """Keep the inventory of a layer that was made from the start, for `patch_for`; whether it has one then."""
    if len(entries) < WORTH or store.layers.under(layer):
        return False
    inventory = inventory_of(entries, digests)
    if inventory is None:
        return False
    store.layers.set_note(layer, _INVENTORY, *inventory.dump())
    return True


def patch_for(store: Store, entries: Sequence[Entry], earlier: str) -> Patch | None:
    """How a layer of these entries differs from an earlier layer; None where it is better made from the start.

    The files among the entries must have their digests.
    """
    if len(entries) < WORTH or store.layers.get(earlier) is None:
        return None
    data = store.layers.note(earlier, _INVENTORY)
    old = Inventory.load(data) if data is not None else None
    new = inventory_of(entries) if old is not None else None
    if old is None or new is None:
        return None
    changes = old.changes_to(new)
    if len(changes.places) + len(changes.lost) > len(entries) // _LARGEST_PART:
        return None
    changed = tuple([entries[place] for place in changes.places])
    return Patch(earlier, changed, tuple(changes.lost), changes.turned)


def as_overlay(patch: Patch, entries: Sequence[Entry], base: Union | None) -> list[Entry] | None:
    """A patch as the overlay form of what lies over the older layer's tree; None where an overlay cannot say it.

    `entries` are all of the new layer, `base` is what the layer stands on.
    """
    if patch.turned or HARDLINK in map(itemgetter(1), entries):
        return None
    gone = set(patch.lost)
    top = [path for path in patch.lost if path.rpartition("/")[0] not in gone]
    # A whiteout would hide what the base has of that name, too.
    if base is not None and any(base.lookup(path, follow=False) is not None for path in top):
        return None
    above: set[str] = set()
    for path in (*top, *[entry.path for entry in patch.entries]):
        while (path := path.rpartition("/")[0]) and path not in above:
            above.add(path)
    changed = {entry.path for entry in patch.entries}
    parents = [e for e in entries if e[1] == DIR and e[0] in above and e[0] not in changed]
    if len(parents) + len(changed & above) != len(above):
        return None  # a directory above is none of the layer
    return [*patch.entries, *parents, *[Entry(path, WHITEOUT, 0) for path in top]]


def as_members(patch: Patch) -> list[Entry]:
    """A patch as `splice` takes it: what is new or different, and a WHITEOUT for what is gone."""
    gone = set(patch.lost)
    top = [path for path in patch.lost if path.rpartition("/")[0] not in gone]
    return [*patch.entries, *[Entry(path, WHITEOUT, 0) for path in top]]


def keep_members(store: Store, layer: str, diff_id: str, entries: Sequence[Entry], ends: bytearray) -> None:
    """Note where the tar of a layer that has an inventory has each of its entries, as `pack` said it, for `spliced`."""
    from buildkit_py.image.splice import Members

    store.layers.set_note(
        layer, _MEMBERS, Members(diff_id, tuple([entry[0] for entry in entries]), memoryview(ends).cast("Q")).dump()
    )


def wants_members(store: Store, layer: str) -> bool:
    """Whether a layer that is about to be packed should have `keep_members`."""
    return store.layers.note(layer, _INVENTORY) is not None


def spliced(store: Store, under: str, changes: Sequence[Entry], compression: str, level: int = 0) -> LayerBlob | None:
    """Pack a layer from the blob of the layer that it is a patch of; None where that has none, or it is no use.

    Raises `ContextError` for a changed file that is not what it was, and `StoreError` where the blob cannot be written.
    """
    found = _members(store, under)
    if found is None:
        return None
    from buildkit_py.image.splice import splice

    members, old = found
    try:
        with store.blobs.open(old.digest) as reader, store.blobs.writer(hashed=True) as writer:
            packed = splice(members, reader.read, changes, writer.write, compression=compression, level=level)
            writer.commit(packed.digest)
    except ContextError:
        raise
    except (StoreCorrupt, SourceError, ValueError):
        return None  # the old blob is damaged: the new one is made of the files
    return LayerBlob(packed.diff_id, packed.digest, packed.size, packed.media_type)


def _members(store: Store, layer: str) -> tuple[Members, LayerBlob] | None:
    from buildkit_py.image.splice import Members

    data = store.layers.note(layer, _MEMBERS)
    members = Members.load(data) if data is not None else None
    if members is None:
        return None
    for variant in store.layers.variants(layer):
        blob = store.layers.blob(layer, variant)
        if blob is not None and blob.diff_id == members.diff_id:
            return members, blob
    return None
