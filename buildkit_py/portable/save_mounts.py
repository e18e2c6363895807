"""Saving a cache mount: its new files into one pack more, or everything anew where too much of the packs is dead."""

from __future__ import annotations

import time

from buildkit_py.image.entry import HARDLINK
from buildkit_py.image.overlay_diff import diff
from buildkit_py.image.pack import pack
from buildkit_py.portable.mounts import KeptFile, KeptMount, mark
from buildkit_py.store.layers import LayerBlob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.image.entry import Entry
    from buildkit_py.store.store import Store

_MOST_PACKS = 8


def save(store: Store, id: str, directory: str, old: KeptMount | None) -> KeptMount:
    """What is in a mount's directory now, over what was saved of it before; the new pack's blob is in the store.

    Nobody may write there meanwhile. Raises `ContextError` for a file that
    was changed all the same, or that no layer can hold, and `StoreError`.
    """
    entries = diff(directory, hash_files=True)
    marks = {entry.path: mark(entry) for entry in entries}
    known = dict(old.files) if old is not None else {}
    kept = {path: file for path, file in known.items() if marks.get(path) == file.mark}
    # A link and what it links to are in one pack, for they come out of it together.
    for entry in entries:
        if entry.kind == HARDLINK and (entry.path not in kept or entry.target not in kept):
            kept.pop(entry.path, None)
            kept.pop(entry.target, None)
    packs = old.packs if old is not None else ()
    if old is not None and _is_wasteful(old, kept, entries):
        kept, packs = {}, ()
    new = [entry for entry in entries if entry.path not in kept]
    if new:
        kept.update({entry.path: KeptFile(len(packs), marks[entry.path], entry.size) for entry in new})
        packs = (*packs, _packed(store, new))
    elif old is not None and len(kept) == len(known):
        return old
    return KeptMount(id, int(time.time()), packs, tuple(sorted(kept.items())))


def _is_wasteful(old: KeptMount, kept: dict[str, KeptFile], entries: list[Entry]) -> bool:
    """Whether to begin anew: with all packs full of what is gone, or too many of them."""
    if len(old.packs) >= _MOST_PACKS and len(kept) < len(entries):
        return True
    held = sum(file.size for _, file in old.files)
    return sum(file.size for file in kept.values()) * 2 < held


def _packed(store: Store, entries: list[Entry]) -> LayerBlob:
    with store.blobs.writer(hashed=True) as writer:
        packed = pack(entries, writer.write)
        writer.commit(packed.digest)
    return LayerBlob(packed.diff_id, packed.digest, packed.size, packed.media_type)
