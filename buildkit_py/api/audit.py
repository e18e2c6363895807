"""The audit of an image: who made each of its layers, on which machine and when, and whose signature says so."""

from __future__ import annotations

import os

from buildkit_py.api.trust import SECRET_VARIABLE, Authority
from buildkit_py.digest import key_of
from buildkit_py.errors import StoreError
from buildkit_py.record import Record
from buildkit_py.store.records import ELSEWHERE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.exporter.image import Image
    from buildkit_py.image.config import History
    from buildkit_py.portable.signature import Trust
    from buildkit_py.store.records import StepRecord
    from buildkit_py.store.store import Store

BASE, HERE, CACHE, UNKNOWN = "base", "here", "cache", "unknown"
RIGHT, WRONG, UNCHECKED, MISSING = "right", "wrong", "unchecked", "none"


class AuditedLayer(Record):
    """A layer of an image, lowest first. `digest` is the blob's, `step` what made it, `created` when (RFC 3339).

    `origin` is `BASE` (`base` is that image, name@digest), `HERE`, `CACHE` (it came with a portable cache) or
    `UNKNOWN` (no record of it is left). `maker` is the machine or CI run. Of what came with a cache, `key` is the one
    that it says it is signed with, `trust` the name that the configuration has for that, and `signature` is
    `RIGHT`, `WRONG`, `UNCHECKED` (by a secret that is not at hand) or `MISSING`.
    """

    digest: str
    size: int
    step: str
    created: str
    origin: str
    base: str = ""
    maker: str = ""
    key: str = ""
    trust: str = ""
    signature: str = ""


class Audit(Record):
    """An image of the store; `name` is "" where it was asked for by digest and has none or several."""

    name: str
    digest: str
    layers: tuple[AuditedLayer, ...]


def audit(text: str, store: str = "") -> Audit:
    """Who made the layers of an image, given by name or digest.

    Raises `ImageNotFound`, `StoreError`, and `UsageError` where the configuration is wrong, or signatures
    cannot be checked because `cryptography` is missing.
    """
    from buildkit_py.api.images import find
    from buildkit_py.config import load as load_config
    from buildkit_py.exporter.image import load
    from buildkit_py.store.store import Store

    authority = Authority(load_config(os.environ), os.environ)
    opened = Store.open(store)
    opened.leases.renews = False  # to look is no use
    found = find(text, opened.root)
    image = load(opened, found.digest)
    return Audit(found.name, found.digest, tuple(_layers(opened, image, authority)))


def _layers(store: Store, image: Image, authority: Authority) -> Iterator[AuditedLayer]:
    base, shared = _base(store, image)
    history = _history(image)
    records = _records(store, image)
    for position, layer in enumerate(image.manifest.layers):
        entry = history[position] if position < len(history) else None
        plain = AuditedLayer(
            layer.digest,
            layer.size,
            entry.created_by if entry is not None else "",
            entry.created if entry is not None else "",
            UNKNOWN,
        )
        if position < shared:
            yield plain.replace(origin=BASE, base=base)
        elif found := records[position]:
            yield _by_record(store, plain, found, authority)
        else:
            yield plain


def _history(image: Image) -> tuple[History, ...]:
    return tuple(entry for entry in image.document.history if not entry.empty_layer)


def _by_record(store: Store, plain: AuditedLayer, record: StepRecord, authority: Authority) -> AuditedLayer:
    from buildkit_py.exporter.image import timestamp
    from buildkit_py.portable.signature import key_of_signature
    from buildkit_py.portable.vouch import proven

    made = plain.replace(step=record.name, created=timestamp(record.created), maker=record.maker)
    if not record.signature:
        return made.replace(origin=HERE)
    made = made.replace(origin=CACHE)
    if record.signature == ELSEWHERE:
        return made.replace(signature=MISSING)
    key = key_of_signature(record.signature)
    made = made.replace(key=key, trust=authority.name_of(key))
    trust = _trust(record.signature, key)
    if trust is None:
        return made.replace(signature=UNCHECKED)
    return made.replace(signature=RIGHT if proven(store, record, trust) else WRONG)


def _trust(signature: str, key: str) -> Trust | None:
    """What tells whether a signature is right, whoever's key it names; None for a secret that is not at hand."""
    from buildkit_py.portable.signature import HMAC, Secret

    if not signature.startswith(HMAC):
        from buildkit_py.portable.ed25519 import TrustedKeys

        return TrustedKeys((key,), "")
    secret = os.environb.get(SECRET_VARIABLE.encode(), b"")
    known = Secret(secret, "") if secret else None
    return known if known is not None and known.key == key else None


def _records(store: Store, image: Image) -> list[StepRecord | None]:
    """What is known of who made each layer.

    Layers of other steps, and of other images, may have the same bytes: all that write nothing do. So the step counts
    whose result is this image up to that layer; where none is, the one that says most.
    """
    known = _layers_by_blob(store, {layer.digest for layer in image.manifest.layers})
    wanted = {layer for layers in known.values() for layer in layers}
    made: dict[str, list[StepRecord]] = {}
    for _, record in store.records.all():
        if record.layer in wanted:
            made.setdefault(record.layer, []).append(record)
    found: list[StepRecord | None] = []
    below = {""}  # what the layers so far may be as a snapshot
    for position, descriptor in enumerate(image.manifest.layers):
        layers = known.get(descriptor.digest, set())
        # A pulled layer is named by its diff_id.
        names = {*layers, *(diff_id[7:] for diff_id in image.document.diff_ids[position : position + 1])}
        above = {key_of("snapshot", base, layer) for base in below for layer in names}
        below = {snapshot for snapshot in above if store.snapshots.has(snapshot)}
        records = [record for layer in layers for record in made.get(layer, ())]
        here = [record for record in records if record.snapshot in below]
        best = min(here or records, key=_rank, default=None)
        # What was signed has the parts of its key.
        found.append((store.records.read(best.key) or best) if best is not None else None)
    return found


def _layers_by_blob(store: Store, wanted: set[str]) -> dict[str, set[str]]:
    """The layers that are packed as these blobs, by their digests."""
    layers: dict[str, set[str]] = {}
    for meta in store.layers.all():
        for variant in store.layers.variants(meta.id):
            blob = store.layers.described(meta.id, variant)
            if blob is not None and blob.digest in wanted:
                layers.setdefault(blob.digest, set()).add(meta.id)
    return layers


def _rank(record: StepRecord) -> tuple[bool, bool, int, str]:
    """How near a record of a layer is to who made it, the nearest first: the step itself before what only lays its
    layer over another base, the one that came signed before one that it was filed under here, the earlier one.
    """
    return record.kind == "restack", record.signature == ELSEWHERE, record.created, record.key


def _base(store: Store, image: Image) -> tuple[str, int]:
    """The image whose layers this one begins with, name@digest, and how many these are; the one that has most."""
    best, most = "", 0
    known = {image.digest: 0}  # builds may have begun with this one, too
    for name, digest in _images(store):
        if digest not in known:
            known[digest] = _shared(store, image, digest)
        if known[digest] > most:
            best, most = f"{name}@{digest}", known[digest]
    return best, most


def _images(store: Store) -> Iterator[tuple[str, str]]:
    """Images that builds began with, newest first: their names and digests."""
    for build in store.builds.records():
        for step in build.steps:
            if step.kind == "image" and "@sha256:" in step.about:
                name, _, digest = step.about.rpartition("@")
                yield name, digest


def _shared(store: Store, image: Image, digest: str) -> int:
    from buildkit_py.exporter.image import load

    try:
        other = load(store, digest).document.diff_ids
    except StoreError:  # it went since
        return 0
    return len(other) if image.document.diff_ids[: len(other)] == other else 0
