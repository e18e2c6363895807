"""Vouching: the signatures of a document that this machine writes.

A record that came from elsewhere keeps the signature that it came with, as
long as it says the same. One that was made here is signed, if all that it
stands on was made here, too, or is signed by somebody whom this build
believes: who signs what grew on a stranger's files lends the stranger a name.
"""

from __future__ import annotations

from buildkit_py.digest import key_of
from buildkit_py.errors import StoreCorrupt
from buildkit_py.portable.document import CachedLayer, CachedStep, claim
from buildkit_py.store.records import ELSEWHERE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildkit_py.portable.document import CacheDocument
    from buildkit_py.portable.signature import Signer, Trust
    from buildkit_py.store.records import StepRecord
    from buildkit_py.store.store import Store


class Vouching:
    """`below` has for each definition key of a build those that it stands on, in an order in which these come first."""

    def __init__(self, store: Store, below: Mapping[str, Iterable[str]], signer: Signer, trust: Trust) -> None:
        self._store = store
        self._signer = signer
        self._trust = trust
        self._sound: dict[str, bool] = {}
        for definition, stands_on in below.items():
            # Of what is no step of the build (an image, a context) this machine saw itself where it came from.
            self._sound[definition] = self._is_known(definition) and all(
                self._sound.get(one, True) for one in stands_on
            )

    def signed(self, found: CacheDocument) -> tuple[CacheDocument, int]:
        """The document with signatures, and how many of its records are left without one by what they stand on.

        It was gathered from this store; what else is in it is signed by somebody who is believed.
        """
        layers = {layer.id: layer for layer in found.layers}
        steps = []
        unsigned = 0
        for step in found.steps:
            record = step.record
            data = claim(step, layers[record.layer])
            if self._keeps(record, data):
                steps.append(step)
                continue
            if self._sound.get(record.definition, False):
                signature = self._signer.sign(data)
            else:
                # What a stranger signed may be believed by others.
                unsigned += not record.signature
                signature = record.signature or ELSEWHERE
            steps.append(step.replace(record=record.replace(signature=signature)))
        return found.replace(steps=tuple(steps)), unsigned

    def _keeps(self, record: StepRecord, data: bytes) -> bool:
        """Whether the signature that a record came with still is of what it says."""
        return bool(record.signature) and self._trust.proves(data, record.signature)

    def _is_known(self, definition: str) -> bool:
        """Whether a result was made here, or came with a signature that is believed."""
        records = self._store.records
        record = records.read(definition, parts=False)
        if record is None:
            return False
        if not record.signature or proven(self._store, records.read(definition), self._trust):
            return True
        # Found under its content key: what was signed is kept there.
        original = records.read(record.content) if record.content else None
        return (
            original is not None
            and original.layer == record.layer
            and (not original.signature or proven(self._store, original, self._trust))
        )


def proven(store: Store, record: StepRecord | None, trust: Trust) -> bool:
    """Whether a record of the store, with its parts, came with a signature that is believed, and is what was signed."""
    if record is None or not trust.admits(record.signature):
        return False
    meta = store.layers.get(record.layer)
    if meta is None:
        return False
    # A record that was taken for its content names a snapshot over another machine's base, which need not be here.
    base = next((part[2] for part in record.parts if part[0] == "base"), "")
    if key_of("snapshot", base, record.layer) != record.snapshot:
        try:
            base = store.snapshots.parent(record.snapshot)
        except StoreCorrupt:
            return False
    step = CachedStep(record, base)
    for variant in store.layers.variants(record.layer):
        blob = store.layers.described(record.layer, variant)
        if blob is None:
            continue
        layer = CachedLayer(meta.id, meta.content, meta.empty, meta.entries, meta.size, meta.created, variant, blob)
        if trust.proves(claim(step, layer), record.signature):
            return True
    return False
