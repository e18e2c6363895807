"""The portable caches of a build: read from where `--cache-from` says, written to where `--cache-to` does.

Whatever goes wrong with a cache is a warning: a build without one is slower,
not different.
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
    from buildkit_py.graph.step import Step
    from buildkit_py.portable.imports import Imports
    from buildkit_py.portable.place import Place
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

    def save_mounts(self, used: dict[str, str]) -> None:
        """Write cache mounts to where `--cache-to` says `mounts=true`: ids by names."""
        for spec in self._request.cache_to:
            if not spec.mounts:
                continue
            began = self._session.clock()
            try:
                sent = self.mounts().save(self._mounts_place(spec), used)
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

    def export(self, solver: Solver, in_images: set[Step], packer: Packer) -> None:
        """Write what a solver found or made. `in_images` are the steps that `mode=min` keeps."""
        look = solver.lookup
        steps = [
            step
            for step in look.order
            if not isinstance(step.op, ImageSource | HostSource | LocalSource)
            and step in look.result
            and step in look.definition
        ]
        for spec in self._request.cache_to:
            began = self._session.clock()
            wanted = [step for step in steps if spec.mode == "max" or step in in_images]
            results = [(look.definition[step], look.result[step].snapshot) for step in wanted]
            try:
                sent = self._write(spec, results, packer)
            except PybuildError as problem:
                self._emit(Notice("warning", f"the cache {spec.place} was not written: {problem.message}"))
                continue
            about = f"{spec.place} ({len(results)} steps, {sent} bytes sent)"
            self._emit(Exported("cache", about, "", self._session.clock() - began))

    def _write(self, spec: CacheSpec, results: list[tuple[str, str]], packer: Packer) -> int:
        from buildkit_py.portable.export import export
        from buildkit_py.portable.gather import gather

        store = self._session.store
        document = gather(store, results, packer.variant, packer.blob, complete=spec.mode == "max")
        return export(store, document, self._place(spec), self._session.fetcher(), self._key)

    def _place(self, spec: CacheSpec, kind: str = "", suffix: str = "") -> Place:
        """Where a cache is; of another artifact type than usual it has a suffix to its name."""
        from buildkit_py.portable.artifact import ARTIFACT_TYPE

        kind = kind or ARTIFACT_TYPE
        if spec.kind == "local":
            from buildkit_py.portable.directory import Directory

            return Directory(spec.place, spec.name + suffix, kind)
        if spec.kind in ("http", "s3"):
            from buildkit_py.portable.web import Web

            return Web(self._session.transport, spec.place, spec.name + suffix, kind)
        from buildkit_py.portable.repository import Repository

        return Repository(self._session.client(), spec.place, kind, suffix)

    def _mounts_place(self, spec: CacheSpec) -> Place:
        from buildkit_py.portable.artifact import MOUNTS_TYPE

        return self._place(spec, MOUNTS_TYPE, "-mounts")
