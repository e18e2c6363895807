"""Saving a cache mount: its new files into one pack more, with what still lives in packs that are mostly dead."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from buildkit_py.image.content import hash_file
from buildkit_py.image.entry import FILE, HARDLINK
from buildkit_py.image.overlay_diff import diff
from buildkit_py.image.pack import pack
from buildkit_py.portable.mounts import KeptFile, KeptMount, Pack, mark
from buildkit_py.portable.recent import recent
from buildkit_py.record import Record
from buildkit_py.store.layers import LayerBlob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildkit_py.image.entry import Entry
    from buildkit_py.portable.recent import Recent
    from buildkit_py.store.store import Store

_MOST_PACKS = 8
_FEW_PACKS = 4
# A mount that is used and stays the same is written down as used so often.
_DAY = 86_400
_SECOND = 10**9
# What a file takes in a pack besides its bytes.
_HEADER = 512


class Saved(Record):
    """A mount as it was saved, and how many files, with how many bytes, were left out."""

    mount: KeptMount
    left_out: int = 0
    bytes: int = 0


def save(store: Store, id: str, key: str, directory: str, old: KeptMount | None, limit: int = 0) -> Saved:
    """What is in a mount's directory now, over what was saved of it before; the new pack's blob is in the store.

    `old` may be of another key: its packs are used on. Of files with more than `limit` bytes (0: no limit) those
    that were used last are saved. Nobody may write there meanwhile. Raises `ContextError` for a file that was
    changed all the same, or that no layer can hold, `StoreError`, and `OSError`.
    """
    found = recent(directory, diff(directory, hash_files=False), limit)
    entries = [_hashed(entry) for entry in found.entries]
    marks = {entry.path: mark(entry) for entry in entries}
    kept = _unchanged(entries, marks, old)
    packs, kept = _worth_keeping(kept, old, _weight(entries, kept), limit)
    new = [entry for entry in entries if entry.path not in kept]
    if not new and old is not None and old.key == key and _is_the_same(old, packs, kept):
        return Saved(old, found.left_out, found.bytes)
    files = {path: file.replace(used=found.used[path]) for path, file in kept.items()}
    if new:
        files.update(_rows(new, len(packs), marks, found))
        packs = (*packs, Pack(_packed(store, new), _weight(new)))
        _unread(new, found)
    mount = KeptMount(id, key, int(time.time()), packs, tuple(sorted(files.items())))
    return Saved(mount, found.left_out, found.bytes)


def _hashed(entry: Entry) -> Entry:
    # The time of reading stays, for it tells what the steps used.
    return entry._replace(digest=hash_file(entry.source, unseen=True)) if entry.kind == FILE else entry


def _unchanged(entries: Sequence[Entry], marks: dict[str, str], old: KeptMount | None) -> dict[str, KeptFile]:
    """The files that packs have already as they are. A file with several names is one of them with all of these."""
    known = dict(old.files) if old is not None else {}
    kept = {path: known[path] for path in marks if path in known and known[path].mark == marks[path]}
    names: dict[str, list[str]] = {}
    for entry in entries:
        if entry.kind == HARDLINK:
            names.setdefault(entry.target, [entry.target]).append(entry.path)
    for group in names.values():
        # Only out of one pack do they come as links of each other.
        if len({kept[path].pack if path in kept else -1 for path in group}) > 1:
            for path in group:
                kept.pop(path, None)
    return kept


def _worth_keeping(
    kept: dict[str, KeptFile], old: KeptMount | None, new: int, limit: int
) -> tuple[tuple[Pack, ...], dict[str, KeptFile]]:
    """The packs that stay, and the files in them, numbered anew; what else is alive is packed again.

    A pack goes when less than half of it is alive; then the emptiest as long as all take more than the limit; then
    the smallest, if there are too many. `new` are the bytes of what is in no pack yet.
    """
    if old is None:
        return (), {}
    alive = dict.fromkeys(range(len(old.packs)), 0)
    for file in kept.values():
        alive[file.pack] += file.size + _HEADER
    held = [pack.bytes for pack in old.packs]
    stay = [number for number, bytes in alive.items() if bytes * 2 > held[number]]
    new += sum(bytes for number, bytes in alive.items() if number not in stay)

    def excess() -> int:
        return sum(held[number] for number in stay) + new - limit

    while limit and excess() > 0:
        emptiest = max(stay, key=lambda number: held[number] - alive[number], default=-1)
        if emptiest < 0 or held[emptiest] == alive[emptiest]:
            break
        stay.remove(emptiest)
        new += alive[emptiest]
    if len(stay) >= _MOST_PACKS and (new or len(stay) > _MOST_PACKS):
        stay = sorted(sorted(stay, key=lambda number: held[number])[-_FEW_PACKS:])
    numbers = {number: place for place, number in enumerate(stay)}
    files = {path: file.replace(pack=numbers[file.pack]) for path, file in kept.items() if file.pack in numbers}
    return tuple(old.packs[number] for number in stay), files


def _is_the_same(old: KeptMount, packs: tuple[Pack, ...], kept: dict[str, KeptFile]) -> bool:
    return packs == old.packs and len(kept) == len(old.files) and time.time() - old.used < _DAY


def _weight(entries: Iterable[Entry], without: dict[str, KeptFile] | None = None) -> int:
    """What entries take in a pack before it is compressed."""
    return sum(entry.size + _HEADER for entry in entries if without is None or entry.path not in without)


def _rows(new: Sequence[Entry], number: int, marks: dict[str, str], found: Recent) -> dict[str, KeptFile]:
    return {entry.path: KeptFile(number, marks[entry.path], entry.size, found.used[entry.path]) for entry in new}


def _unread(new: Sequence[Entry], found: Recent) -> None:
    """Take back that packing read the files: it is no use of them."""
    for entry in new:
        if entry.kind == FILE:
            with suppress(PermissionError):  # of another owner
                os.utime(entry.source, ns=(found.used[entry.path] * _SECOND, entry.mtime), follow_symlinks=False)


def _packed(store: Store, entries: list[Entry]) -> LayerBlob:
    with store.blobs.writer(hashed=True) as writer:
        packed = pack(entries, writer.write)
        writer.commit(packed.digest)
    return LayerBlob(packed.diff_id, packed.digest, packed.size, packed.media_type)
