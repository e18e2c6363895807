"""Imports: the records of portable caches, read when something is first missing here, and taken over as they hit.

Nothing of a cache enters the store but what a build asks for, and of that only
the description: a layer's blob stays where it is until a step or a person
needs its files. A cache that cannot be read or is slow counts as empty, and so
do records that are not signed by whom that cache is believed; it is said once.
"""

from __future__ import annotations

import threading

from buildkit_py.digest import key_of
from buildkit_py.errors import PybuildError, SourceError
from buildkit_py.events import Notice, warning
from buildkit_py.image.manifest import Descriptor
from buildkit_py.portable import document
from buildkit_py.record import Record
from buildkit_py.registry import origin as origins
from buildkit_py.registry.origin import Origin
from buildkit_py.registry.pull import note_layer
from buildkit_py.store.layers import LayerMeta
from buildkit_py.store.records import ELSEWHERE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.events import Emit
    from buildkit_py.portable.document import CachedLayer, CachedStep
    from buildkit_py.portable.place import Place
    from buildkit_py.portable.signature import Trust
    from buildkit_py.store.records import StepRecord
    from buildkit_py.store.store import Store

# A cache that takes longer to say what it has is no help.
PATIENCE = 20.0


class Shelf(Record):
    """A place with a cache, and whose records there are believed."""

    place: Place
    trust: Trust


class _Entry:
    """A step of a cache that was read, with its layer and the place that has it. `proven` is None until it matters."""

    def __init__(self, step: CachedStep, layer: CachedLayer, shelf: Shelf) -> None:
        self.step = step
        self.layer = layer
        self.place = shelf.place
        self.trust = shelf.trust
        self.proven: bool | None = None

    @property
    def origin(self) -> Origin:
        """Where the layer's blob can be had."""
        blob, data = self.layer.blob, self.layer.data
        return Origin(blob.digest, blob.size, blob.media_type, data=data) if data else self.place.origin(blob)


class Imports:
    """Implements the solver's `Elsewhere` over several places, of which the first that has a record gives it.

    `has_one_id`: no user id but one exists here. Of others who have no more the records are taken there only: under
    the same keys they have files without owners. Shared by threads.
    """

    def __init__(
        self,
        store: Store,
        shelves: Sequence[Shelf],
        emit: Emit,
        patience: float = PATIENCE,
        *,
        has_one_id: bool = False,
    ) -> None:
        self._has_one_id = has_one_id
        self._store = store
        self._shelves = shelves
        self._emit = emit
        self._patience = patience
        self._lock = threading.Lock()
        self._entries: dict[str, list[_Entry]] | None = None
        self._bases: dict[str, str] = {}
        self._ops: set[str] = set()
        self._is_partial = False
        self._lost: set[tuple[str, str]] = set()  # layers that a place named and did not have
        self._forged: set[str] = set()  # places with a signature that is wrong

    def get(self, key: str) -> StepRecord | None:
        """The record that a cache has under a definition or content key, which is in the store then."""
        for entry in self._read().get(key, ()):
            if (entry.layer.id, entry.place.name) not in self._lost and self._is_proven(entry):
                return self._admit(key, entry)
        return None

    def has_op(self, key: str) -> bool:
        """Whether a cache has any result of the op with this key, whatever it stood on.

        Of a cache without all steps that is always so: a result above this op may be there without its own.
        """
        self._read()
        return key in self._ops or self._is_partial

    def base_of(self, snapshot: str) -> str | None:
        """The filesystem below the topmost layer of one that a record of a cache names; None for another."""
        return self._bases.get(snapshot)

    def forget(self, layer: LayerMeta) -> None:
        """Believe no place any more that says it has this layer and was asked for it in vain."""
        for text in layer.origin:
            where = origins.read(text)
            for entries in (self._entries or {}).values():
                for entry in entries:
                    if entry.layer.id == layer.id and entry.origin == where:
                        self._lost.add((layer.id, entry.place.name))

    # -- reading

    def _read(self) -> dict[str, list[_Entry]]:
        with self._lock:
            if self._entries is None:
                self._entries = {}
                for shelf, found in self._documents():
                    self._take(shelf, found)
            return self._entries

    def believed(self) -> list[document.CacheDocument]:
        """What the places have, without the records that are not signed by whom each of them is believed."""
        return [self._proven(shelf, found) for shelf, found in self._documents()]

    def kept(self) -> list[document.CacheDocument]:
        """What is believed of the places, without the steps whose layers are neither here nor there any more."""
        return [self._kept(shelf.place, self._proven(shelf, found)) for shelf, found in self._documents()]

    def _documents(self) -> list[tuple[Shelf, document.CacheDocument]]:
        """What the places have, in their order, without the records of strangers; all are read at once."""
        from _queue import Empty, SimpleQueue
        from time import monotonic

        came: SimpleQueue[tuple[int, document.CacheDocument | BaseException | None]] = SimpleQueue()

        def read(number: int, place: Place) -> None:
            try:
                came.put((number, self._document(place)))
            except BaseException as problem:
                came.put((number, problem))

        for number, shelf in enumerate(self._shelves):
            # A daemon: who is too slow is not waited for at the end either.
            threading.Thread(target=read, args=(number, shelf.place), name="read-cache", daemon=True).start()
        found: dict[int, document.CacheDocument | BaseException | None] = {}
        until = monotonic() + self._patience
        while len(found) < len(self._shelves) and (left := until - monotonic()) > 0:
            try:
                number, one = came.get(True, min(left, 0.1))  # wakes for signals
            except Empty:
                continue
            if isinstance(one, BaseException) and not isinstance(one, PybuildError):
                raise one  # a mistake of ours is no cache that is slow
            found[number] = one
        documents = []
        for number, shelf in enumerate(self._shelves):
            one = found.get(number)
            if isinstance(one, document.CacheDocument):
                documents.append((shelf, self._admitted(shelf, one)))
            else:
                self._tell(shelf.place, one, late=number not in found)
        return documents

    def _document(self, place: Place) -> document.CacheDocument | None:
        signed = place.read()
        return document.load(signed.data) if signed is not None else None

    def _tell(self, place: Place, problem: object, *, late: bool) -> None:
        if late:
            problem = PybuildError(f"it does not answer in {self._patience:.0f} seconds")
        if isinstance(problem, PybuildError):
            self._emit(warning(f"the cache {place.name} is not used", problem))
        else:
            self._emit(Notice("info", f"there is no cache at {place.name} yet"))

    def _take(self, shelf: Shelf, found: document.CacheDocument) -> None:
        layers = {layer.id: layer for layer in found.layers}
        entries = self._entries
        assert entries is not None
        self._is_partial = self._is_partial or not found.complete
        for step in found.steps:
            record = step.record
            entry = _Entry(step, layers[record.layer], shelf)
            for key in (record.definition, record.content):
                if key:
                    entries.setdefault(key, []).append(entry)
            self._bases[record.snapshot] = step.base
            self._ops.add(key_of("op", record.parts[0][1]))

    def _admitted(self, shelf: Shelf, found: document.CacheDocument) -> document.CacheDocument:
        """A document without the records of strangers, and of those without ids; that there are some is told."""
        found = self._owned(shelf, found)
        steps = [step for step in found.steps if shelf.trust.admits(step.record.signature)]
        strangers, count = len(found.steps) - len(steps), len(found.steps)
        if not strangers:
            return found
        name, whom = shelf.place.name, shelf.trust.whom
        whole = f"the cache {name} is not used: it is not signed {whom}"
        some = f"of the cache {name}, {strangers} of {count} records are not used: they are not signed {whom}"
        self._emit(Notice("warning", whole if strangers == count else some))
        return document.only(found, steps)

    def _owned(self, shelf: Shelf, found: document.CacheDocument) -> document.CacheDocument:
        steps = [step for step in found.steps if self._has_one_id or not step.record.owners]
        if len(steps) == len(found.steps):
            return found
        self._emit(
            Notice(
                "warning",
                f"of the cache {shelf.place.name}, {len(found.steps) - len(steps)} of {len(found.steps)} records are"
                " not used: who made them has a single user id, and their files have no owners",
                hint="give that user a range of ids in /etc/subuid and /etc/subgid",
            )
        )
        return document.only(found, steps)

    def _proven(self, shelf: Shelf, found: document.CacheDocument) -> document.CacheDocument:
        """A document without the records whose signature is wrong."""
        layers = {layer.id: layer for layer in found.layers}
        entries = [_Entry(step, layers[step.record.layer], shelf) for step in found.steps]
        return document.only(found, [entry.step for entry in entries if self._is_proven(entry)])

    def _kept(self, place: Place, found: document.CacheDocument) -> document.CacheDocument:
        """A document without the steps whose layers are neither in the store nor in their place."""
        blobs = self._store.blobs
        try:
            apart = [one for one in found.layers if not one.data]
            lost = {one.id for one in apart if not blobs.has(one.blob.digest) and place.lacks(one.blob)}
        except SourceError:
            return found  # who writes there asks as well, and says what is wrong
        return document.only(found, [step for step in found.steps if step.record.layer not in lost])

    def _is_proven(self, entry: _Entry) -> bool:
        """Whether a record is what somebody signed who is believed; the first one of a place that is not is told of."""
        if entry.proven is None:
            data = document.claim(entry.step, entry.layer)
            entry.proven = entry.trust.proves(data, entry.step.record.signature)
            if not entry.proven and entry.place.name not in self._forged:
                self._forged.add(entry.place.name)
                name = entry.step.record.name
                text = f"the cache {entry.place.name} has the step `{name}` with a wrong signature, and it is not used"
                self._emit(Notice("warning", text))
        return entry.proven

    # -- taking over

    def _admit(self, key: str, entry: _Entry) -> StepRecord:
        """The layer and the record, in the store. A layer that is there already keeps what it has."""
        store, layer, record = self._store, entry.layer, entry.step.record
        where = entry.origin
        meta = LayerMeta(
            layer.id,
            layer.content,
            empty=layer.empty,
            entries=layer.entries,
            size=layer.size,
            diff_id=layer.blob.diff_id,
            origin=(origins.write(where),),
            created=layer.created,
            times=layer.times,
        )
        if not store.layers.present(layer.id):
            store.layers.delete(layer.id)  # one that lost its files may know another place, which lost them too
        there = store.layers.add(meta, blob=(layer.variant, layer.blob))
        if there != meta.replace(origin=there.origin) or store.layers.described(layer.id, layer.variant) != layer.blob:
            # One that was here before: it has the same files, and is not what was signed.
            record = record.replace(signature=ELSEWHERE)
        # An image knows its layers by their diff_ids only.
        descriptor = Descriptor(layer.blob.media_type, layer.blob.digest, layer.blob.size)
        note_layer(store, layer.blob.diff_id, descriptor, where)
        for name in {key, record.definition, record.content, key_of("op", record.parts[0][1])} - {""}:
            if name == key or not store.records.has(name):
                store.records.put(name, record)
        return record.replace(key=key)
