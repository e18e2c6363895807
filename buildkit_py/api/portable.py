"""The portable caches of a build: read from where `--cache-from` says, written to where `--cache-to` does.

To a server, layers go as steps end; a directory is only written at the end,
for it holds nothing that its index does not name. Whatever goes wrong with a
cache is a warning: a build without one is slower, not different.
"""

from __future__ import annotations

import os

from buildkit_py.api.record_build import is_made, stands_on
from buildkit_py.api.trust import Authority
from buildkit_py.errors import PybuildError
from buildkit_py.events import Exported, Notice, warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildkit_py.api.portable_mounts import PortableMounts
    from buildkit_py.api.request import BuildRequest, CacheSpec
    from buildkit_py.api.session import Session
    from buildkit_py.events import Emit
    from buildkit_py.executor.pack_layers import Packer
    from buildkit_py.executor.result import Result
    from buildkit_py.graph.step import Step
    from buildkit_py.portable.document import CacheDocument
    from buildkit_py.portable.imports import Imports, Shelf
    from buildkit_py.portable.place import Place, Server, Source
    from buildkit_py.portable.signature import Trust
    from buildkit_py.portable.uploads import Uploads
    from buildkit_py.solver.solve import Solver
    from buildkit_py.store.layers import LayerMeta


class PortableCaches:
    """Those of one request. Raises `UsageError` for a name that is none, and what `Authority` raises."""

    def __init__(self, request: BuildRequest, session: Session, emit: Emit) -> None:
        self._request = request
        self._session = session
        self._emit = emit
        authority = self._authority = Authority(session.config, os.environ)
        for spec in (*request.cache_from, *request.cache_to):
            authority.trust(spec.trust)  # a name that nobody has is told before anything is built
        self._written = tuple(spec for spec in request.cache_to if authority.is_one_of(spec.trust))
        self._imports: Imports | None = None
        self._mounts: PortableMounts | None = None
        self._uploads: dict[CacheSpec, Uploads] = {}
        self._milliseconds: dict[str, int] = {}
        self._damaged: set[str] = set()  # blobs, by digest, that a cache has in name only

    def imports(self) -> Imports | None:
        """What the build may use of other machines' results; None without `--cache-from`."""
        if self._imports is None and self._request.cache_from:
            from buildkit_py.portable.imports import Imports, Shelf

            shelves = [Shelf(self._place(spec), self._authority.trust(spec.trust)) for spec in self._request.cache_from]
            self._imports = Imports(
                self._session.store, shelves, self._emit, has_one_id=self._session.identity.single_id
            )
        return self._imports

    def mounts(self) -> PortableMounts:
        """The cache mounts that travel with the caches."""
        if self._mounts is None:
            from buildkit_py.api.portable_mounts import PortableMounts

            shelves = [self._mounts_shelf(spec) for spec in self._request.cache_from]
            self._mounts = PortableMounts(self._session, self._emit, shelves, self._authority.signer)
        return self._mounts

    def save_mounts(self, used: dict[tuple[str, str], str]) -> None:
        """Write cache mounts to where `--cache-to` says `mounts=true`: ids by names and keys."""
        for spec in self._written:
            if not spec.mounts:
                continue
            began = self._session.clock()
            try:
                limit = spec.mounts_max or self._session.config.mounts_max
                sent = self.mounts().save(self._mounts_shelf(spec), used, limit)
            except PybuildError as problem:
                self._emit(warning(f"the cache mounts were not written to {spec.shown}", problem))
                continue
            about = f"{spec.shown} ({len(used)} mounts, {sent} bytes sent)"
            self._emit(Exported("cache mounts", about, "", self._session.clock() - began))

    def forget(self, layers: Iterable[LayerMeta], asked_for: str) -> None:
        """These could not be had from where a cache said that they are.

        Of the one that was asked for, by id or the hex of its diff_id, the blob is written anew.
        """
        if self._imports is not None:
            from buildkit_py.registry import origin as origins

            for layer in layers:
                self._imports.forget(layer)
                if asked_for in (layer.id, layer.diff_id.removeprefix("sha256:")):
                    self._damaged.update([origins.read(text).digest for text in layer.origin])

    # -- writing

    def begin(self, solver: Solver, step: Step, result: Result, in_images: set[Step], packer: Packer) -> None:
        """Hear of a result: it is packed, and sent to servers, while the build goes on."""
        if not is_made(step) or not result.layer:
            return
        for spec in self._written:
            if spec.mode != "max" and step not in in_images:
                continue
            packer.begin(result.layer)
            if spec.kind != "local":
                meta = self._session.store.layers.get(result.layer)
                if meta is not None and not meta.impure:
                    took = self._took(solver.lookup.definition.get(step, ""))
                    self._server_uploads(spec, packer).begin(result.layer, took)

    def stop(self) -> None:
        """Send nothing more."""
        for uploads in self._uploads.values():
            uploads.stop()

    def export(self, solver: Solver, in_images: set[Step], packer: Packer) -> None:
        """Write what a solver found or made. `in_images` are the steps that `mode=min` keeps."""
        look = solver.lookup
        kept = [step for step in look.order if is_made(step) and step not in solver.dirty]
        steps = [step for step in kept if step in look.result and step in look.definition]
        for spec in self._request.cache_to:
            if not self._may_write(spec):
                continue
            began = self._session.clock()
            wanted = [step for step in steps if spec.mode == "max" or step in in_images]
            try:
                about = self._write(spec, solver, wanted, packer)
            except PybuildError as problem:
                self._emit(warning(f"the cache {spec.shown} was not written", problem))
                continue
            self._emit(Exported("cache", f"{spec.shown} ({about})", "", self._session.clock() - began))

    def _may_write(self, spec: CacheSpec) -> bool:
        if spec in self._written:
            return True
        names = " or ".join(f"`{name}`" for name in spec.trust)
        self._emit(Notice("info", f"the cache {spec.shown} is not written: this build has no key of {names}"))
        return False

    def put(self, document: CacheDocument, below: Mapping[str, Iterable[str]]) -> None:
        """Write a document to where `--cache-to` says; `below` is as for `Vouching`."""
        from buildkit_py.portable.export import export

        store, fetcher = self._session.store, self._session.fetcher
        for spec in self._request.cache_to:
            if not self._may_write(spec):
                continue
            began = self._session.clock()
            try:
                sent = export(store, self._signed(document, spec, below), self._place(spec), fetcher)
            except PybuildError as problem:
                self._emit(warning(f"the cache {spec.shown} was not written", problem))
                continue
            about = f"{spec.shown} ({len(document.steps)} steps, {sent} bytes sent)"
            self._emit(Exported("cache", about, "", self._session.clock() - began))

    def documents(self) -> list[CacheDocument]:
        """What there is where `--cache-from` says and is believed. A cache that cannot be read, or has nothing yet, is
        a notice.
        """
        imports = self.imports()
        return imports.believed() if imports is not None else []

    def kept(self) -> list[CacheDocument]:
        """The same, without the steps whose layers are neither in the store nor where they should be."""
        imports = self.imports()
        return imports.kept() if imports is not None else []

    def _write(self, spec: CacheSpec, solver: Solver, steps: list[Step], packer: Packer) -> str:
        """What was written, for people."""
        from buildkit_py.portable.export import export
        from buildkit_py.portable.gather import gather

        store, look = self._session.store, solver.lookup
        place: Place
        if spec.kind == "local":
            place, sent, dropped = self._place(spec), 0, set()
        else:
            uploads = self._server_uploads(spec, packer)
            uploads.end()
            place, sent = uploads.place, uploads.sent
            dropped = self._not_worth(spec, solver, steps, packer)
        kept = [step for step in steps if look.result[step].layer not in dropped]
        results = [(look.definition[step], look.result[step].snapshot) for step in kept]
        document = gather(store, results, packer.variant, packer.blob, complete=spec.mode == "max")
        sent += export(store, self._signed(document, spec, stands_on(solver)), place, self._session.fetcher)
        about = f"{len(kept)} steps, {sent} bytes sent"
        left = len(steps) - len(kept)
        return about + (f"; {left} take longer to move than to make" if left else "")

    def _signed(self, document: CacheDocument, spec: CacheSpec, below: Mapping[str, Iterable[str]]) -> CacheDocument:
        """The document with signatures where there is a key."""
        signer = self._authority.signer
        if signer is None:
            return document
        from buildkit_py.portable.vouch import Vouching

        document, strange = Vouching(self._session.store, below, signer, self._believed()).signed(document)
        if strange:
            text = f"{strange} records of the cache {spec.shown} are not signed: they stand on what nobody trusted made"
            self._emit(Notice("warning", text))
        return document

    def _believed(self) -> Trust:
        """All whom any cache of the request is trusted for."""
        return self._authority.all(tuple(name for spec in self._request.cache_from for name in spec.trust))

    def _not_worth(self, spec: CacheSpec, solver: Solver, steps: list[Step], packer: Packer) -> set[str]:
        """The layers that a server is not to have (`--cache-policy`)."""
        from buildkit_py.portable.worth import not_worth_moving

        if self._request.cache_policy == "all":
            return set()
        uploads = self._uploads[spec]
        look, layers = solver.lookup, self._session.store.layers

        def moving(layer: str) -> float:
            meta = layers.get(layer)
            if meta is None or meta.impure or not uploads.rate.seconds(meta.size):
                return 0.0
            blob = packer.blob(layer)
            return uploads.rate.seconds(blob.size) if not uploads.place.has(blob) else 0.0

        took = {step: self._took(key) for step, key in look.definition.items()}
        return not_worth_moving(look.order, {step: look.result[step].layer for step in steps}, took, moving)

    def _server_uploads(self, spec: CacheSpec, packer: Packer) -> Uploads:
        if spec not in self._uploads:
            from buildkit_py.portable.uploads import Uploads

            picky = self._request.cache_policy != "all"
            self._uploads[spec] = Uploads(lambda: self._server(spec), packer.blob, self._reading, picky=picky)
        return self._uploads[spec]

    def _reading(self, layer: str) -> Source:
        from buildkit_py.portable.export import reading

        return reading(self._session.store, self._session.fetcher, lambda blob: layer)

    def _took(self, definition: str) -> float:
        """How many seconds the step with this key took when it last ran."""
        if definition not in self._milliseconds:
            record = self._session.store.records.get(definition, parts=False) if definition else None
            self._milliseconds[definition] = record.milliseconds if record is not None else 0
        return self._milliseconds[definition] / 1000

    # -- places

    def _place(self, spec: CacheSpec, kind: str = "", suffix: str = "") -> Place:
        """Where a cache is; of another artifact type than usual it has a suffix to its name."""
        if spec.kind != "local":
            return self._server(spec, kind, suffix)
        from buildkit_py.portable.artifact import ARTIFACT_TYPE
        from buildkit_py.portable.directory import Directory

        return Directory(spec.place, spec.name + suffix, kind or ARTIFACT_TYPE, self._damaged)

    def _server(self, spec: CacheSpec, kind: str = "", suffix: str = "") -> Server:
        from buildkit_py.portable.artifact import ARTIFACT_TYPE

        kind = kind or ARTIFACT_TYPE
        if spec.kind in ("http", "s3"):
            from buildkit_py.portable.web import Web

            return Web(self._session.transport, spec.place, spec.name + suffix, kind, self._damaged)
        if spec.kind == "gha":
            from buildkit_py.portable.actions import ActionsEntries

            return ActionsEntries(self._session.transport, spec.name + suffix, kind)
        from buildkit_py.portable.repository import Repository

        return Repository(self._session.client(), spec.place, kind, suffix)

    def _mounts_shelf(self, spec: CacheSpec) -> Shelf:
        from buildkit_py.portable.artifact import MOUNTS_TYPE
        from buildkit_py.portable.imports import Shelf

        return Shelf(self._place(spec, MOUNTS_TYPE, "-mounts"), self._authority.trust(spec.trust))
