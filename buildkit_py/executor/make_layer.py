"""Making a layer out of what a step wrote, or out of a list of entries, and giving it its name.

Early cutoff happens here: a layer is named by what it changes on which base,
so a step that ran again and wrote the same finds its old layer under the same
name, keeps that, and everything above it hits.
"""

from __future__ import annotations

import os
import time

from buildkit_py.digest import key_of
from buildkit_py.image.entry import HARDLINK, WHITEOUT
from buildkit_py.record import Record
from buildkit_py.store.chain import content_of, layer_id
from buildkit_py.store.faults import store_error
from buildkit_py.store.layers import LayerBlob, LayerMeta
from buildkit_py.store.scan import COARSE_TICK
from buildkit_py.store.work import make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.executor.patch_layer import Patch
    from buildkit_py.image.entry import Entry
    from buildkit_py.image.union import Union
    from buildkit_py.sandbox.userns import Identity
    from buildkit_py.store.store import Store

_SECOND = 10**9


class NewLayer(Record):
    """`id` names the layer, `bytes` is the size of its files' contents.

    `fresh`: there was no such layer before, so it is exactly of these entries,
    times included. `diff_id` is that of the tar in which it was packed just now.
    """

    id: str
    bytes: int
    fresh: bool = False
    diff_id: str = ""


def load_packing(compression: str) -> None:
    """Load what packs a layer, which takes 3 ms, while there is no layer yet."""
    try:
        from buildkit_py.image import pack  # noqa: F401
        from buildkit_py.image.compress import compressor

        compressor(compression, size=0)
    except Exception:  # pybuild itself is being replaced, or cannot be read
        return  # whoever packs is told


def from_directory(
    store: Store,
    base: str,
    upper: str,
    *,
    impure: bool,
    compression: str = "none",
    look: Callable[[Sequence[Entry]], None] | None = None,
    began: int = 0,
) -> NewLayer:
    """The layer made of an overlay's upper directory, which becomes the store's. `base` is a snapshot.

    `began` is when the step did (nanoseconds), 0 where that is not known. `look`
    sees the entries before anything is made of them, and may raise. With a
    `compression` it is packed, too, by the same read of its files that takes the
    digests. That is for a layer on which nothing waits.
    """
    from buildkit_py.image.overlay_diff import diff

    entries = diff(upper, hash_files=compression == "none")
    if any(".wh." in entry[0] for entry in entries):
        from buildkit_py.image.pack import refuse_forged

        # Now, while it is known which step made it.
        refuse_forged([entry._replace(source="") for entry in entries])
    if look is not None:
        look(entries)
    times = _given_times(entries, began) if began else ""
    if compression == "none" or not entries:
        from buildkit_py.image.content import content_digest

        meta = _meta(store, base, content_digest(entries), entries, impure, times=times)
        store.layers.add(meta, diff=upper)
    else:
        content, blob = _packed(store, entries, compression)
        meta = _meta(store, base, content, entries, impure, blob.diff_id, times)
        store.layers.add(meta, diff=upper, blob=(compression, blob))
    return NewLayer(meta.id, meta.size)


def from_entries(
    store: Store,
    base: str,
    entries: Sequence[Entry],
    *,
    compression: str,
    impure: bool,
    digests: bytearray | None = None,
    ends: bytearray | None = None,
) -> NewLayer:
    """The layer that holds these entries. Their files are read once, and packed and hashed on the way.

    `digests` gets the digest of each file, `ends` where each entry ends in the
    tar, as `image.pack` says. Raises `ContextError` for a file that changed since it was listed.
    """
    content, blob = _packed(store, entries, compression, digests, ends)
    meta = _meta(store, base, content, entries, impure, blob.diff_id)
    fresh = store.layers.add(meta, blob=(compression, blob)) is meta
    return NewLayer(meta.id, meta.size, fresh, blob.diff_id)


def from_entries_as_files(
    store: Store,
    base: str,
    entries: Sequence[Entry],
    identity: Identity,
    *,
    impure: bool,
    digests: bytearray | None = None,
) -> NewLayer:
    """The layer that holds these entries, as files, for a step that stands on it. Raises as `from_entries`."""
    from buildkit_py.executor.write_tree import write_tree

    with store.work_dir("layer") as work:
        directory = work.path + "/diff"
        make_root(directory)
        try:
            content = write_tree(entries, directory, identity, digests)
        except OSError as problem:
            raise store_error(problem, store.root, "write the files of a layer") from problem
        meta = _meta(store, base, content, entries, impure)
        fresh = store.layers.add(meta, diff=directory) is meta
    return NewLayer(meta.id, meta.size, fresh)


def from_patch(
    store: Store,
    base: str,
    entries: Sequence[Entry],
    patch: Patch,
    root: Union | None,
    identity: Identity,
    *,
    impure: bool,
) -> NewLayer | None:
    """The layer that holds these entries, as files over those of an older layer; None where that cannot be.

    Every file among the entries has its digest. `root` is the filesystem that `base` names. Raises as `from_entries`.
    """
    from buildkit_py.executor.patch_layer import as_overlay
    from buildkit_py.executor.write_tree import write_tree
    from buildkit_py.image.content import content_digest

    overlay = as_overlay(patch, entries, root)
    if overlay is None or store.layers.tree(patch.under) is None or store.layers.loss(patch.under) is not None:
        return None
    with store.work_dir("layer") as work:
        directory = work.path + "/patch"
        os.mkdir(directory, 0o700)
        make_root(directory + "/diff")
        try:
            write_tree(overlay, directory + "/diff", identity)
        except OSError as problem:
            raise store_error(problem, store.root, "write the files of a layer") from problem
        store.layers.patch_of(patch.under, directory)
        meta = _meta(store, base, content_digest(entries), entries, impure)
        store.layers.add(meta, patch=directory)
    return NewLayer(meta.id, meta.size)


def from_splice(
    store: Store, base: str, entries: Sequence[Entry], patch: Patch, *, compression: str, impure: bool
) -> NewLayer | None:
    """The layer that holds these entries, packed from the blob of an older one; None where that cannot be.

    Every file among the entries has its digest. Raises as `from_entries`.
    """
    from buildkit_py.executor.patch_layer import as_members, spliced
    from buildkit_py.image.content import content_digest

    blob = spliced(store, patch.under, as_members(patch), compression)
    if blob is None:
        return None
    meta = _meta(store, base, content_digest(entries), entries, impure, blob.diff_id)
    store.layers.add(meta, blob=(compression, blob))
    return NewLayer(meta.id, meta.size)


def _packed(
    store: Store,
    entries: Sequence[Entry],
    compression: str,
    digests: bytearray | None = None,
    ends: bytearray | None = None,
) -> tuple[str, LayerBlob]:
    """Pack entries into a blob of the store; their content digest and the blob."""
    from buildkit_py.image.pack import pack

    with store.blobs.writer(hashed=True) as writer:
        packed = pack(entries, writer.write, compression=compression, hash_files=True, digests=digests, ends=ends)
        writer.commit(packed.digest)
    return packed.content, LayerBlob(packed.diff_id, packed.digest, packed.size, packed.media_type)


def _given_times(entries: Sequence[Entry], began: int) -> str:
    """One name for the times that a step gave its files itself, as `touch -d` and `tar` do; "" where it gave none.

    What it wrote has the time of that, which is another one whenever it runs: were that part of a layer's name, a step
    that comes to the same again would come to another image.
    """
    first, last = began - COARSE_TICK, time.time_ns() + COARSE_TICK
    given = tuple(
        [
            (entry.path, entry.mtime // _SECOND)
            for entry in entries
            if not first <= entry.mtime <= last and entry.kind not in (HARDLINK, WHITEOUT)
        ]
    )
    return key_of("times", given) if given else ""


def _meta(
    store: Store,
    base: str,
    content: str,
    entries: Sequence[Entry],
    impure: bool,
    diff_id: str = "",
    times: str = "",
) -> LayerMeta:
    return LayerMeta(
        id=layer_id(content_of(store, base), content, times),
        content=content,
        empty=not entries,
        entries=len(entries),
        size=sum(entry.size for entry in entries),
        diff_id=diff_id,
        impure=impure,
        created=int(time.time()),
        times=times,
    )
