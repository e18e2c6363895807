"""Verification: reading everything in the store and comparing it with what it says it is.

What is wrong is moved to the quarantine, and so is what cannot be used
without it; the next build makes it again.

The files of an unpacked layer come to its content digest. That of a pulled
layer is not known (its name is the diff_id, of a tar), and neither is that of
files which lack owners that this user could not give: those are compared with
what the layer's blob unpacks to now.
"""

from __future__ import annotations

import os
import stat

from buildkit_py.digest import is_hex, is_sha256
from buildkit_py.errors import StoreCorrupt, StoreError
from buildkit_py.image.content import content_digest
from buildkit_py.image.overlay_diff import diff
from buildkit_py.record import Record
from buildkit_py.store.checksum import unchecked
from buildkit_py.store.faults import store_error
from buildkit_py.store.reach import reach
from buildkit_py.store.sealed import read_regular, unsealed_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from buildkit_py.store.layers import LayerMeta
    from buildkit_py.store.store import Store

    Unpack: TypeAlias = Callable[[LayerMeta, str], object]


class Problem(Record):
    """Something wrong with one thing: what kind, its name, where it was, and what is wrong."""

    kind: str
    name: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.message}"


def verify(store: Store, repair: bool = True, unpack: Unpack | None = None) -> tuple[Problem, ...]:
    """Everything that is wrong, most basic first; with `repair` it is set aside. Raises `StoreError`.

    `unpack` unpacks a layer's blob into a new directory; without it the
    unpacked files of layers are not read. Other processes may use the store
    meanwhile; what they remove is not reported.
    """

    def trees(look: Store) -> Iterator[Problem]:
        return _trees(look, unpack) if unpack is not None else iter(())

    look = store.view(sets_aside=False)
    problems: list[Problem] = []
    try:
        # In this order a later check sees what an earlier one took away.
        for check in (_blobs, _layers, trees, _snapshots, _records, _images, _seen):
            for problem in list(check(look)):
                if os.path.lexists(problem.path):
                    problems.append(problem)
                    if repair:
                        store.work.quarantine(problem.path)
                        if problem.kind == "snapshot":
                            look.snapshots.forget(problem.name)
    except OSError as problem:
        raise store_error(problem, store.root, "verify the store") from problem
    return tuple(problems)


def _blobs(store: Store) -> Iterator[Problem]:
    for name in sorted(os.listdir(store.blobs.dir)):
        digest, path = "sha256:" + name, f"{store.blobs.dir}/{name}"
        if not is_sha256(digest):
            yield Problem("blob", name, path, "its name is no digest")
            continue
        try:
            with store.blobs.open(digest) as reader:
                while reader.read(1 << 20):
                    pass
        except StoreCorrupt as problem:
            yield Problem("blob", digest, path, problem.message.partition(": ")[2] or problem.message)
        except StoreError:
            if os.path.lexists(path):
                raise


def _layers(store: Store) -> Iterator[Problem]:
    for name in sorted(os.listdir(store.layers.dir)):
        path = f"{store.layers.dir}/{name}"
        meta = store.layers.get(name) if is_hex(name) else None
        if meta is None:
            yield Problem("layer", name, path, "its description is missing or damaged")
            continue
        for variant in store.layers.variants(name):
            if store.layers.described(name, variant) is None:
                yield Problem("layer", name, f"{path}/blob-{variant}", f"its note on the blob {variant!r} is damaged")
        tree = _status(path + "/diff")
        if tree is not None and not stat.S_ISDIR(tree.st_mode):
            yield Problem("layer", name, path + "/diff", "its tree is no directory")
        if not meta.empty and not meta.lost and not store.layers.present(name):
            yield Problem("layer", name, path, "it has neither files nor a blob")


def _trees(store: Store, unpack: Unpack) -> Iterator[Problem]:
    for name in sorted(os.listdir(store.layers.dir)):
        meta = store.layers.get(name) if is_hex(name) else None
        tree = store.layers.tree(name) if meta is not None else None
        if meta is None or tree is None:
            continue
        try:
            message = _tree(store, meta, tree, unpack)
        except OSError as problem:
            message = f"its files cannot be read: {problem.strerror}"
        if message and store.layers.tree(name) is not None:
            # Without another way to its files, all of the layer goes, and what stands on it.
            only_this = store.layers.any_blob(name) is None and not meta.origin
            yield Problem("layer", name, store.layers.path(name) if only_this else tree, message)


def _tree(store: Store, meta: LayerMeta, tree: str, unpack: Unpack) -> str:
    """What is wrong with an unpacked layer, "" if nothing is or if there is nothing to compare it with."""
    if meta.content != meta.diff_id.removeprefix("sha256:") and store.layers.loss(meta.id) is None:
        wanted = meta.content
    elif store.layers.any_blob(meta.id) is not None:
        with store.work_dir("verify") as work:
            try:
                unpack(meta, work.path + "/diff")
            except StoreError:
                if store.layers.present(meta.id):
                    raise
                return ""  # another process removed it meanwhile
            wanted = content_digest(diff(work.path + "/diff", hash_files=True))
    else:
        return ""
    return "" if content_digest(diff(tree, hash_files=True)) == wanted else "its unpacked files are not what it says"


def _snapshots(store: Store) -> Iterator[Problem]:
    for id in sorted(store.snapshots.names()):
        try:
            missing = [layer for layer in store.snapshots.layers(id) if store.layers.get(layer) is None]
        except StoreCorrupt as problem:
            yield Problem("snapshot", id, store.snapshots.path(id), problem.message)
            continue
        if missing:
            yield Problem("snapshot", id, store.snapshots.path(id), f"its layer {missing[0]} is missing")


def _records(store: Store) -> Iterator[Problem]:
    for key in sorted(store.records.names()):
        path = store.records.path(key)
        record = store.records.read(key)
        if record is None:
            yield Problem("record", key, path, "it is damaged")
        elif record.layer and store.layers.get(record.layer) is None:
            yield Problem("record", key, path, f"its layer {record.layer} is missing")
        # One from elsewhere may have lain on what that machine has, and is used for its content alone.
        elif record.snapshot and not record.signature and not store.snapshots.has(record.snapshot):
            yield Problem("record", key, path, f"its snapshot {record.snapshot} is missing")


def _images(store: Store) -> Iterator[Problem]:
    for name in sorted(os.listdir(store.images.dir)):
        path = f"{store.images.dir}/{name}"
        image = store.images.read(path)
        if image is None:
            yield Problem("image", name, path, "its file is damaged")
            continue
        for message in (found for digest in (image[1], *image[3]) for found in _lacks(store, digest)):
            yield Problem("image", image[0], path, message)
            break


def _seen(store: Store) -> Iterator[Problem]:
    """What builds wrote down of what they saw, and what came of it, which the next ones believe."""
    for kind, directory in (("memo", "memo"), ("scan", "scans"), ("note", "sources")):
        for name in sorted(os.listdir(store.path(directory))):
            path = store.path(directory, name)
            main = name.partition(".")[0]
            if name.endswith(".new") or not (is_hex(main, 32) or main.startswith(("run-", "web-"))):
                continue  # being written, or a mark, or what its reader makes anew where it is damaged
            read = unsealed_bytes if kind == "note" or name.endswith(".notes") else unchecked
            try:
                data = read_regular(path)
                whole = data is None or read(data) is not None
            except ValueError:
                whole = False
            if not whole:
                yield Problem(kind, name, path, "it is damaged")


def _lacks(store: Store, manifest: str) -> Iterator[str]:
    """What an image is damaged by, or has not all of."""
    needs = reach(store.blobs, manifest)
    yield from needs.problems
    for diff_id, digest in needs.layers:
        if not store.blobs.has(digest) and not _can_be_had(store, diff_id):
            yield f"its layer {digest} is missing"


def _can_be_had(store: Store, diff_id: str) -> bool:
    return diff_id.startswith("sha256:") and store.layers.present(diff_id[7:])


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
