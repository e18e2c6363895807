"""Layers: what steps changed, each a directory `layers/ID/` with a description, a tree, and notes on its blobs.

    meta            sealed LayerMeta
    diff/           the unpacked tree in overlay form, where something needed it mounted
    loss            sealed TreeLoss, where that tree lacks something of the layer
    patch/          in place of it: `under`, the sealed id of another layer, and in `diff/` what this one has otherwise
    blob-VARIANT    sealed LayerBlob: which blob is this layer packed in that way
    note-NAME       sealed bytes that whoever makes layers keeps beside one, to make the next like it sooner

The directory is put together aside and renamed into place; a tree or a note
that is added later is renamed in by itself. So a layer that is there has its
description, and a tree that is there is whole.

A layer of many files that differs in a few from an older one is kept as a
patch of that: mounted on top of the older one's tree it shows the same files.
The older layer stays as long as the newer one (`gc.py`), and has a tree of its own.
"""

from __future__ import annotations

import errno
import os

from buildkit_py.digest import is_hex
from buildkit_py.errors import StoreError
from buildkit_py.record import Record
from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import Lock
from buildkit_py.store.sealed import read_regular, seal, seal_of, unseal, unsealed_bytes
from buildkit_py.store.work import make_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from buildkit_py.store.blobs import Blobs
    from buildkit_py.store.leases import Leases
    from buildkit_py.store.work import Work

    R = TypeVar("R", bound=Record)

_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST)
_VARIANT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")


class LayerMeta(Record):
    """What a layer is. `id` and `content` are 64 hex digits.

    A pulled layer's id and content are the hex of its diff_id; a built one's
    id is `chain.layer_id`, which `times` takes part in. `origin` says, in words of
    registry/, where the blob of a layer that was not fetched yet can be had.
    `impure`: made over `host://`, so it never leaves this machine. `created`
    (seconds since 1970) is when it was first made here, which is what an
    image's history says: a step that came out the same again keeps it.
    `lost`: its files could be had nowhere any more; what it was made of is
    still known, and a step makes it again.
    """

    id: str
    content: str
    empty: bool = False
    entries: int = 0
    size: int = 0
    diff_id: str = ""
    origin: tuple[str, ...] = ()
    impure: bool = False
    created: int = 0
    lost: bool = False
    times: str = ""


class LayerBlob(Record):
    """A layer as a blob: the sha256 of its tar, the blob's digest, bytes and media type."""

    diff_id: str
    digest: str
    size: int
    media_type: str


class TreeLoss(Record):
    """What the tree of a layer lacks, for this user could not make it: so many owners or capabilities, and devices."""

    owners: int = 0
    devices: int = 0


class Layers:
    """`layers/` of a store. Methods raise `ValueError` for an id or variant that is none, and `StoreError`."""

    def __init__(self, work: Work, leases: Leases, blobs: Blobs) -> None:
        self.dir = work.root + "/layers"
        self._work = work
        self._leases = leases
        self._blobs = blobs

    def path(self, id: str) -> str:
        """Where a layer is or would be."""
        if not is_hex(id):
            raise ValueError(f"not a layer id: {id!r}")
        return f"{self.dir}/{id}"

    def get(self, id: str) -> LayerMeta | None:
        """A layer's description; None if it is absent. A damaged layer is set aside and counts as absent."""
        path = self.path(id)
        self._leases.renew(path + "/meta")
        meta = self._described_in(path, id)
        before = _identity(path) if meta is None else None
        while before is not None:
            # It may have come since: only what was there before it was read, and still is, is damaged.
            if (meta := self._described_in(path, id)) is not None:
                return meta
            now = _identity(path)
            if now == before:
                self._work.quarantine(path)
                return None
            before = now
        return meta

    def _described_in(self, path: str, id: str) -> LayerMeta | None:
        try:
            meta = self._read(path + "/meta", LayerMeta)
        except ValueError:
            return None
        return meta if meta is not None and meta.id == id else None

    def use(self, id: str) -> None:
        """Keep a layer safe from prune while this process holds the store; its description is not read."""
        self._leases.renew(self.path(id) + "/meta")

    def add(
        self, meta: LayerMeta, diff: str = "", blob: tuple[str, LayerBlob] | None = None, patch: str = ""
    ) -> LayerMeta:
        """Put a layer in place; the description that is there afterwards.

        `diff` is a finished directory on this filesystem, which is moved; so is
        `patch`, which `patch_of` made ready. A layer that exists already is kept, and gets what it
        lacks of the tree, the blob, `diff_id` and `origin`; not the blob of another tar, which has other times.
        """
        path = self.path(meta.id)
        while True:
            existing = self.get(meta.id)
            if existing is None and self._add_new(path, meta, diff, blob, patch):
                return meta
            if existing is not None:
                break
        if blob is not None and existing.diff_id and existing.diff_id != blob[1].diff_id:
            blob = None
        filled = existing.replace(
            diff_id=existing.diff_id or meta.diff_id,
            origin=existing.origin or meta.origin,
            lost=existing.lost and not (diff or patch or blob or meta.origin),
        )
        if filled != existing:
            self._work.write(path + "/meta", seal(filled.values()))
        if diff:
            self.add_tree(meta.id, diff)
        if patch:
            self.add_patch(meta.id, patch)
        if blob is not None and self.blob(meta.id, blob[0]) is None:
            self.set_blob(meta.id, *blob)
        return filled

    def _add_new(self, path: str, meta: LayerMeta, diff: str, blob: tuple[str, LayerBlob] | None, patch: str) -> bool:
        staged = self._work.scratch_name()
        try:
            os.mkdir(staged, 0o700)
            self._work.write(staged + "/meta", seal(meta.values()))
            if blob is not None:
                self._work.write(f"{staged}/{_blob_file(blob[0])}", seal(blob[1].values()))
            moves = [(given, f"{staged}/{name}") for given, name in ((diff, "diff"), (patch, "patch")) if given]
            for given, there in moves:
                os.rename(given, there)
            make_dir(self.dir)
            try:
                os.rename(staged, path)
                return True
            except OSError as problem:
                if problem.errno not in _OCCUPIED and not os.path.lexists(path):
                    raise
                for given, there in moves:  # another process was first: give them back for the second try
                    os.rename(there, given)
                self._work.remove(staged)
                return False
        except OSError as problem:
            raise store_error(problem, self._work.root, "store a layer") from problem

    def tree(self, id: str) -> str | None:
        """The directory of an unpacked layer; None if it is packed or absent."""
        path = self.path(id) + "/diff"
        return path if os.path.isdir(path) and not os.path.islink(path) else None

    def add_tree(self, id: str, diff: str, loss: TreeLoss | None = None) -> str:
        """Move an unpacked tree into a layer that exists; where it is then. A tree that is there already is kept.

        In that case `diff` stays, to go with the directory it is in.
        """
        path = self.path(id) + "/diff"
        if self.tree(id) is not None:
            return path
        if loss is not None:
            self._work.write(self.path(id) + "/loss", seal(loss.values()))
        try:
            if os.path.lexists(path):
                if self.tree(id) is not None:  # another process was first
                    return path
                self._work.quarantine(path)
            os.rename(diff, path)
        except OSError as problem:
            if self.tree(id) is not None and problem.errno in _OCCUPIED:
                return path
            raise store_error(problem, self._work.root, "store a layer's files") from problem
        return path

    def loss(self, id: str) -> TreeLoss | None:
        """What the tree of a layer lacks; None if it is all there."""
        try:
            return self._read(self.path(id) + "/loss", TreeLoss)
        except ValueError:
            return TreeLoss(1, 1)  # damaged: only that it lacks something is known

    def trees(self, id: str) -> tuple[str, ...]:
        """The directories that together show a layer's files, lowest first; none if it is packed or absent."""
        tree = self.tree(id)
        if tree is not None:
            return (tree,)
        under = self.under(id)
        below = self.tree(under) if under else None
        patch = self.path(id) + "/patch/diff"
        return (below, patch) if below is not None and os.path.isdir(patch) else ()

    def under(self, id: str) -> str:
        """The layer of which this one is a patch; "" for one that is none. Who uses the one uses the other, too."""
        path = self.path(id) + "/patch"
        try:
            data = read_regular(path + "/under")
            under = unseal(data) if data is not None else ""
            if under and not (isinstance(under, str) and is_hex(under)):
                raise ValueError("no id of a layer")
        except ValueError:
            self._work.quarantine(path)
            return ""
        except OSError as problem:
            raise store_error(problem, self._work.root, "read a layer") from problem
        if under:
            self.use(under)
        return under

    def add_patch(self, id: str, patch: str) -> None:
        """Move a patch that `patch_of` made ready into a layer that exists; nothing if its files are there already."""
        path = self.path(id) + "/patch"
        if self.trees(id):
            return
        try:
            if os.path.lexists(path):
                if self.trees(id):  # another process was first
                    return
                self._work.quarantine(path)
            os.rename(patch, path)
        except OSError as problem:
            if not (problem.errno in _OCCUPIED and self.trees(id)):
                raise store_error(problem, self._work.root, "store a layer's files") from problem

    def patch_of(self, under: str, patch: str) -> None:
        """Make a directory ready for `add`; its `diff/` is, as an overlay, what is otherwise than in `under`."""
        self._work.write(patch + "/under", seal(under))

    def note(self, id: str, name: str) -> bytes | None:
        """Bytes that were kept beside a layer; None if there are none, or they are damaged."""
        try:
            data = read_regular(f"{self.path(id)}/note-{name}")
            return unsealed_bytes(data) if data is not None else None
        except ValueError:
            return None
        except OSError as problem:
            raise store_error(problem, self._work.root, "read a layer") from problem

    def set_note(self, id: str, name: str, *pieces: bytes) -> None:
        """Keep some bytes, given in pieces, beside a layer that exists."""
        self._work.write(f"{self.path(id)}/note-{name}", seal_of(*pieces), *pieces)

    def blob(self, id: str, variant: str) -> LayerBlob | None:
        """The blob a layer is packed in under this variant; None if it never was or the blob itself is gone."""
        found = self.described(id, variant)
        return found if found is not None and self._blobs.has(found.digest) else None

    def described(self, id: str, variant: str) -> LayerBlob | None:
        """Like `blob`, but also for a blob that is not here (a pulled layer that was not fetched yet)."""
        path = f"{self.path(id)}/{_blob_file(variant)}"
        try:
            return self._read(path, LayerBlob)
        except ValueError:
            self._work.quarantine(path)
            return None

    def any_blob(self, id: str) -> tuple[str, LayerBlob] | None:
        """Some variant with a blob that is here."""
        for variant in self.variants(id):
            found = self.blob(id, variant)
            if found is not None:
                return variant, found
        return None

    def variants(self, id: str) -> list[str]:
        """Names of all variants that are noted for a layer, sorted."""
        try:
            names = os.listdir(self.path(id))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as problem:
            raise store_error(problem, self._work.root, "read a layer") from problem
        return sorted(n[5:] for n in names if n.startswith("blob-") and _VARIANT.issuperset(n[5:]) and n[5:])

    def set_blob(self, id: str, variant: str, blob: LayerBlob) -> None:
        """Note in which blob a layer is packed. Raises `StoreError` if there is no such layer."""
        path = self.path(id)
        # The layer's own directory must not be made here, as `Work.install` would: it would have no description.
        if self.get(id) is None:
            raise StoreError(f"the store has no layer {id}", at=self._work.root)
        self._work.write(f"{path}/{_blob_file(variant)}", seal(blob.values()))

    def unset_blob(self, id: str, variant: str) -> None:
        """A blob that is here turned out not to unpack to this layer: it is none of it (the blob itself stays)."""
        if self.blob(id, variant) is not None:
            self._work.remove(f"{self.path(id)}/{_blob_file(variant)}")

    def lock(self, id: str, waiting: Callable[[int], object] | None = None) -> Lock:
        """A lock for who unpacks, packs or fetches this layer; see `locks.Lock`."""
        return Lock(f"{self._work.root}/locks/layer-{os.path.basename(self.path(id))}", waiting=waiting)

    def present(self, id: str) -> bool:
        """Whether its files can be had: it has a tree, a blob that is here, or an origin."""
        meta = self.get(id)
        return meta is not None and (bool(meta.origin) or bool(self.trees(id)) or self.any_blob(id) is not None)

    def place(self, id: str, origin: tuple[str, ...]) -> None:
        """Note where the blobs of a layer that exists can be had."""
        meta = self.get(id)
        if meta is not None and meta.origin != origin:
            self._work.write(self.path(id) + "/meta", seal(meta.replace(origin=origin).values()))

    def lose(self, id: str) -> None:
        """Note that the files of a layer cannot be had: no place and no blob of it counts any more."""
        meta = self.get(id)
        if meta is None:
            return
        self._work.write(self.path(id) + "/meta", seal(meta.replace(origin=(), lost=True).values()))
        for variant in self.variants(id):
            self._work.remove(f"{self.path(id)}/{_blob_file(variant)}")

    def delete(self, id: str) -> bool:
        """Remove a layer with its tree (blobs stay); False if there was none."""
        return self._work.remove(self.path(id))

    def all(self) -> Iterator[LayerMeta]:
        """Every layer, in no order."""
        try:
            names = os.listdir(self.dir)
        except FileNotFoundError:
            return
        except OSError as problem:
            raise store_error(problem, self._work.root, "list the layers") from problem
        for name in names:
            if is_hex(name):
                meta = self.get(name)
                if meta is not None:
                    yield meta

    def _read(self, path: str, kind: type[R]) -> R | None:
        try:
            data = read_regular(path)
        except OSError as problem:
            raise store_error(problem, self._work.root, "read a layer") from problem
        if data is None:
            return None
        try:
            return kind(*unseal(data))
        except TypeError as problem:
            raise ValueError("fields of another version") from problem


def _identity(path: str) -> tuple[int, int] | None:
    """What a path leads to; None for nothing."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _blob_file(variant: str) -> str:
    if not variant or not _VARIANT.issuperset(variant):
        raise ValueError(f"not a variant: {variant!r}")
    return "blob-" + variant
