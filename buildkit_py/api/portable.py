"""The portable caches of a build: read from where `--cache-from` says, written to where `--cache-to` does.

To a server, layers go as steps end; a directory is only written at the end,
for it holds nothing that its index does not name. Whatever goes wrong with a
cache is a warning: a build without one is slower, not different.
"""

from __future__ import annotations

import os

from buildkit_py.errors import PybuildError
from buildkit_py.events import Exported, Notice
from buildkit_py.graph.op import HostSource, ImageSource, LocalSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.api.portable_mounts import PortableMounts
    from buildkit_py.api.request import BuildRequest, CacheSpec
    from buildkit_py.api.session import Session
    from buildkit_py.events import Emit
    from buildkit_py.executor.pack_layers import Packer
    from buildkit_py.executor.result import Result
    from buildkit_py.graph.step import Step
    from buildkit_py.portable.imports import Imports
    from buildkit_py.portable.place import Place, Server, Source
    from buildkit_py.portable.uploads import Uploads
    from buildkit_py.solver.solve import Solver
    from buildkit_py.store.layers import LayerMeta

KEY_VARIABLE = "PYBUILD_CACHE_KEY"


class PortableCaches:
    """Those of one request. Raises `UsageError` for a name that is none."""

    def __init__(self, request: BuildRequest, session: Session, emit: Emit) -> None:
        self._request = request
        self._session = session
        self._emit = emit
        self._key = os.environb.get(KEY_VARIABLE.encode(), b"")
        self._imports: Imports | None = None
        self._mounts: PortableMounts | None = None
        self._uploads: dict[CacheSpec, tuple[Server, Uploads]] = {}
        self._milliseconds: dict[str, int] = {}

    def imports(self) -> Imports | None:
        """What the build may use of other machines' results; None without `--cache-from`."""
        if self._imports is None and self._request.cache_from:
            from buildkit_py.portable.imports import Imports

            places = [self._place(spec) for spec in self._request.cache_from]
            self._imports = Imports(self._session.store, places, self._emit, self._key)
        return self._imports

    def mounts(self) -> PortableMounts:
        """The cache mounts that travel with the caches."""
        if self._mounts is None:
            from buildkit_py.api.portable_mounts import PortableMounts

            places = [self._mounts_place(spec) for spec in self._request.cache_from]
            self._mounts = PortableMounts(self._session, self._emit, places, self._key)
        return self._mounts

    def save_mounts(self, used: dict[tuple[str, str], str]) -> None:
        """Write cache mounts to where `--cache-to` says `mounts=true`: ids by names and keys."""
        for spec in self._request.cache_to:
            if not spec.mounts:
                continue
            began = self._session.clock()
            try:
                limit = spec.mounts_max or self._session.config.mounts_max
                sent = self.mounts().save(self._mounts_place(spec), used, limit)
            except PybuildError as problem:
                self._emit(Notice("warning", f"the cache mounts were not written to {spec.place}: {problem.message}"))
                continue
            about = f"{spec.place} ({len(used)} mounts, {sent} bytes sent)"
            self._emit(Exported("cache mounts", about, "", self._session.clock() - began))

    def forget(self, layers: Iterable[LayerMeta]) -> None:
        """These could not be had from where a cache said that they are."""
        if self._imports is not None:
            for layer in layers:
                self._imports.forget(layer)

    # -- writing

    def begin(self, solver: Solver, step: Step, result: Result, in_images: set[Step], packer: Packer) -> None:
        """Hear of a result: it is packed, and sent to servers, while the build goes on."""
        if not self._is_kept(step) or not result.layer:
            return
        for spec in self._request.cache_to:
            if spec.mode != "max" and step not in in_images:
                continue
            packer.begin(result.layer)
            if spec.kind != "local":
                meta = self._session.store.layers.get(result.layer)
                if meta is not None and not meta.impure:
                    took = self._took(solver.lookup.definition.get(step, ""))
                    self._server_uploads(spec, packer)[1].begin(result.layer, took)

    def stop(self) -> None:
        """Send nothing more."""
        for _, uploads in self._uploads.values():
            uploads.stop()

    def export(self, solver: Solver, in_images: set[Step], packer: Packer) -> None:
        """Write what a solver found or made. `in_images` are the steps that `mode=min` keeps."""
        look = solver.lookup
        kept = [step for step in look.order if self._is_kept(step) and step not in solver.dirty]
        steps = [step for step in kept if step in look.result and step in look.definition]
        for spec in self._request.cache_to:
            began = self._session.clock()
            wanted = [step for step in steps if spec.mode == "max" or step in in_images]
            try:
                about = self._write(spec, solver, wanted, packer)
            except PybuildError as problem:
                self._emit(Notice("warning", f"the cache {spec.place} was not written: {problem.message}"))
                continue
            self._emit(Exported("cache", f"{spec.place} ({about})", "", self._session.clock() - began))

    def _write(self, spec: CacheSpec, solver: Solver, steps: list[Step], packer: Packer) -> str:
        """What was written, for people."""
        from buildkit_py.portable.export import export
        from buildkit_py.portable.gather import gather

        store, look = self._session.store, solver.lookup
        place: Place
        if spec.kind == "local":
            place, sent, dropped = self._place(spec), 0, set()
        else:
            place, uploads = self._server_uploads(spec, packer)
            uploads.end()
            sent = uploads.sent
            dropped = self._not_worth(spec, solver, steps, packer)
        kept = [step for step in steps if look.result[step].layer not in dropped]
        results = [(look.definition[step], look.result[step].snapshot) for step in kept]
        document = gather(store, results, packer.variant, packer.blob, complete=spec.mode == "max")
        sent += export(store, document, place, self._session.fetcher, self._key)
        about = f"{len(kept)} steps, {sent} bytes sent"
        left = len(steps) - len(kept)
        return about + (f"; {left} take longer to move than to make" if left else "")

    def _not_worth(self, spec: CacheSpec, solver: Solver, steps: list[Step], packer: Packer) -> set[str]:
        """The layers that a server is not to have (`--cache-policy`)."""
        from buildkit_py.portable.worth import not_worth_moving

        if self._request.cache_policy == "all":
            return set()
        place, uploads = self._uploads[spec]
        look, layers = solver.lookup, self._session.store.layers

        def moving(layer: str) -> float:
            meta = layers.get(layer)
            if meta is None or meta.impure or not uploads.rate.seconds(meta.size):
                return 0.0
            blob = packer.blob(layer)
            return uploads.rate.seconds(blob.size) if not place.has(blob) else 0.0

        took = {step: self._took(key) for step, key in look.definition.items()}
        return not_worth_moving(look.order, {step: look.result[step].layer for step in steps}, took, moving)

    def _server_uploads(self, spec: CacheSpec, packer: Packer) -> tuple[Server, Uploads]:
        if spec not in self._uploads:
            from buildkit_py.portable.uploads import Uploads

            place = self._server(spec)
            picky = self._request.cache_policy != "all"
            self._uploads[spec] = place, Uploads(place, packer.blob, self._reading, picky=picky)
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

    def _is_kept(self, step: Step) -> bool:
        return not isinstance(step.op, ImageSource | HostSource | LocalSource)

    # -- places

    def _place(self, spec: CacheSpec, kind: str = "", suffix: str = "") -> Place:
        """Where a cache is; of another artifact type than usual it has a suffix to its name."""
        if spec.kind != "local":
            return self._server(spec, kind, suffix)
        from buildkit_py.portable.artifact import ARTIFACT_TYPE
        from buildkit_py.portable.directory import Directory

        return Directory(spec.place, spec.name + suffix, kind or ARTIFACT_TYPE)

    def _server(self, spec: CacheSpec, kind: str = "", suffix: str = "") -> Server:
        from buildkit_py.portable.artifact import ARTIFACT_TYPE

        kind = kind or ARTIFACT_TYPE
        if spec.kind in ("http", "s3"):
            from buildkit_py.portable.web import Web

            return Web(self._session.transport, spec.place, spec.name + suffix, kind)
        if spec.kind == "gha":
            from buildkit_py.portable.actions import ActionsEntries

            return ActionsEntries(self._session.transport, spec.name + suffix, kind)
        from buildkit_py.portable.repository import Repository

        return Repository(self._session.client(), spec.place, kind, suffix)

    def _mounts_place(self, spec: CacheSpec) -> Place:
        from buildkit_py.portable.artifact import MOUNTS_TYPE

        return self._place(spec, MOUNTS_TYPE, "-mounts")
