"""The store as the solver's cache of results."""

from __future__ import annotations

import time

from buildkit_py.digest import key_of
from buildkit_py.store.chain import content_of
from buildkit_py.store.records import ELSEWHERE, StepRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from buildkit_py.executor.result import Made
    from buildkit_py.graph.step import Step
    from buildkit_py.store.store import Store

    class Elsewhere(Protocol):
        """Caches of other machines, asked for what this one has not."""

        def get(self, key: str) -> StepRecord | None:
            """The record under a definition or content key, which is in the store then, with its layer."""

        def has_op(self, key: str) -> bool:
            """Whether there is any result of the op with this key, whatever it stood on."""

        def base_of(self, snapshot: str) -> str | None:
            """The filesystem below the topmost layer of one that a record from elsewhere names; None for another."""


def made_anew(store: Store) -> str:
    """The file that is written when a step that had a result got another one: no memo from before counts any more."""
    return store.path("memo", "made-anew")


class StoreCache:
    """Implements the solver's `Cache`. `tool` is the version that makes records now, `maker` the machine.

    `elsewhere` is asked for what the store lacks; `grew` hears how many bytes a result added.
    """

    def __init__(
        self,
        store: Store,
        tool: str,
        elsewhere: Elsewhere | None = None,
        grew: Callable[[int], object] = int,
        maker: str = "",
    ) -> None:
        self._maker = maker
        self._grew = grew
        self._store = store
        self._tool = tool
        self._elsewhere = elsewhere
        self._whole: dict[str, bool] = {"": True}

    def get(self, key: str) -> StepRecord | None:
        """The record under a key, if the layer that it names is present."""
        record = self._store.records.get(key, parts=False)
        if record is not None and self._store.layers.present(record.layer):
            return record
        return self._elsewhere.get(key) if self._elsewhere is not None else None

    def whole(self, snapshot: str) -> bool:
        """Whether every layer of a filesystem is present."""
        from buildkit_py.errors import StoreCorrupt

        snapshots = self._store.snapshots
        above: list[str] = []
        at = snapshot
        try:
            while at not in self._whole:
                above.append(at)
                at = snapshots.parent(at)
        except StoreCorrupt:
            self._whole[at] = False
        for id in reversed(above):
            self._whole[id] = self._whole[at] and self._store.layers.present(snapshots.top(id))
            at = id
        return self._whole[snapshot]

    def push(self, base: str, layer: str) -> str:
        """The filesystem made of another and one more layer."""
        return self._store.snapshots.push(base, layer)

    def base_of(self, snapshot: str) -> str:
        """The filesystem below the topmost layer; "" too where that is not known any more."""
        from buildkit_py.errors import StoreCorrupt

        if self._elsewhere is not None and (base := self._elsewhere.base_of(snapshot)) is not None:
            return base
        try:
            return self._store.snapshots.parent(snapshot)
        except StoreCorrupt:
            return ""

    def content(self, snapshot: str) -> str:
        """The content digest of a filesystem."""
        return content_of(self._store, snapshot)

    def has_op(self, parts: tuple[Any, ...]) -> bool:
        """Whether any record was ever made by this op, whatever it stood on."""
        key = key_of("op", parts)
        return self._store.records.has(key) or (self._elsewhere is not None and self._elsewhere.has_op(key))

    def put(
        self, step: Step, definition: str, content: str, parts: tuple[Any, ...], made: Made, sources: str
    ) -> StepRecord | None:
        """File a fresh result, made from these `sources`, under both keys ("" for one that is not known).

        The record of an earlier result is returned if that came from the same content and is otherwise.
        """
        record = StepRecord(
            key=definition,
            kind=parts[0][1][0],
            snapshot=made.result.snapshot,
            layer=made.result.layer,
            text=made.result.text,
            definition=definition,
            content=content,
            parts=parts,
            name=step.name,
            milliseconds=int(made.seconds * 1000),
            bytes=made.bytes,
            created=int(time.time()),
            tool=self._tool,
            sources=sources,
            maker=self._maker,
        )
        before = self._store.records.read(definition, parts=False) if definition else None
        if before is not None and before.snapshot != record.snapshot:
            self._store.work.write(made_anew(self._store), b"")
        earlier = self._store.records.read(content, parts=False) if content else None
        # What a COPY took is kept once, under the key that stands for just that.
        listed = record.replace(parts=(*parts, ("listings", made.listings))) if any(made.listings) else record
        if content:
            self._store.records.put(content, listed)
        for key in (definition, key_of("op", parts[0][1])):
            if key:
                self._store.records.put(key, record)
        self._grew(made.bytes)
        return earlier if earlier is not None and self._is_otherwise(earlier, record) else None

    def _is_otherwise(self, earlier: StepRecord, record: StepRecord) -> bool:
        """Whether two results of the same content differ; where that cannot be told any more, they do not."""
        if earlier.layer == record.layer or not (earlier.layer and record.layer):
            return earlier.text != record.text
        # A layer is named by its base as well, on which a step that does not use it may lie anywhere.
        metas = [self._store.layers.get(layer) for layer in (earlier.layer, record.layer)]
        contents = {meta.content for meta in metas if meta is not None}
        return len(contents) == 2

    def refile(self, record: StepRecord, definition: str, parts: tuple[Any, ...], snapshot: str, sources: str) -> None:
        """File a result that was found under its content key under a definition key as well."""
        # A signature is over the definition that it came with.
        signature = ELSEWHERE if record.signature else ""
        changed = record.replace(definition=definition, parts=parts, snapshot=snapshot, sources=sources)
        self._store.records.put(definition, changed.replace(signature=signature))
