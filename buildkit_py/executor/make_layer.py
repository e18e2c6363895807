"""Making a layer out of what a step wrote, or out of a list of entries, and giving it its name.

Early cutoff happens here: a layer is named by what it changes on which base,
so a step that ran again and wrote the same finds its old layer under the same
name, keeps that, and everything above it hits.
"""

from __future__ import annotations

import time

from buildkit_py.record import Record
from buildkit_py.store.chain import content_of, layer_id
from buildkit_py.store.faults import store_error
from buildkit_py.store.layers import LayerBlob, LayerMeta
from buildkit_py.store.work import make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from buildkit_py.image.entry import Entry
    from buildkit_py.sandbox.userns import Identity
    from buildkit_py.store.store import Store

    Learn: TypeAlias = Callable[[Entry, bytes], object]


class NewLayer(Record):
    """`id` names the layer, `bytes` is the size of its files' contents."""

    id: str
    bytes: int


def from_directory(store: Store, base: str, upper: str, *, impure: bool, compression: str = "none") -> NewLayer:
    """The layer made of an overlay's upper directory, which becomes the store's. `base` is a snapshot.

    With a `compression` it is packed, too, by the same read of its files that
    takes the digests. That is for a layer on which nothing waits.
    """
    from buildkit_py.image.overlay_diff import diff

    entries = diff(upper, hash_files=compression == "none")
    if compression == "none" or not entries:
        from buildkit_py.image.content import content_digest

        meta = _meta(store, base, content_digest(entries), entries, impure)
        store.layers.add(meta, diff=upper)
    else:
        content, blob = _packed(store, entries, compression)
        meta = _meta(store, base, content, entries, impure, blob.diff_id)
        store.layers.add(meta, diff=upper, blob=(compression, blob))
    return NewLayer(meta.id, meta.size)


def from_entries(
    store: Store, base: str, entries: Sequence[Entry], *, compression: str, impure: bool, learn: Learn | None = None
) -> NewLayer:
    """The layer that holds these entries. Their files are read once, and packed and hashed on the way.

    `learn` hears the digest of each file. Raises `ContextError` for a file
    that changed since it was listed.
    """
    content, blob = _packed(store, entries, compression, learn)
    meta = _meta(store, base, content, entries, impure, blob.diff_id)
    store.layers.add(meta, blob=(compression, blob))
    return NewLayer(meta.id, meta.size)


def from_entries_as_files(
    store: Store,
    base: str,
    entries: Sequence[Entry],
    identity: Identity,
    *,
    impure: bool,
    learn: Learn | None = None,
) -> NewLayer:
    """The layer that holds these entries, as files, for a step that stands on it. Raises as `from_entries`."""
    from buildkit_py.executor.write_tree import write_tree

    with store.work_dir("layer") as work:
        directory = work.path + "/diff"
        make_root(directory)
        try:
            content = write_tree(entries, directory, identity, learn)
        except OSError as problem:
            raise store_error(problem, store.root, "write the files of a layer") from problem
        meta = _meta(store, base, content, entries, impure)
        store.layers.add(meta, diff=directory)
    return NewLayer(meta.id, meta.size)


def _packed(
    store: Store, entries: Sequence[Entry], compression: str, learn: Learn | None = None
) -> tuple[str, LayerBlob]:
    """Pack entries into a blob of the store; their content digest and the blob."""
    from buildkit_py.image.pack import pack

    with store.blobs.writer(hashed=True) as writer:
        packed = pack(entries, writer.write, compression=compression, hash_files=True, learn=learn)
        writer.commit(packed.digest)
    return packed.content, LayerBlob(packed.diff_id, packed.digest, packed.size, packed.media_type)


def _meta(
    store: Store, base: str, content: str, entries: Sequence[Entry], impure: bool, diff_id: str = ""
) -> LayerMeta:
    return LayerMeta(
        id=layer_id(content_of(store, base), content),
        content=content,
        empty=not entries,
        entries=len(entries),
        size=sum(entry.size for entry in entries),
        diff_id=diff_id,
        impure=impure,
        created=int(time.time()),
    )
