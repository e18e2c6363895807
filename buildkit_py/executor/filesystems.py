"""The filesystems that results name: their layers as directories of this machine, to be mounted or to be read."""

from __future__ import annotations

from buildkit_py.events import StepProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.events import Emit
    from buildkit_py.executor.materialize import Materializer, Trees
    from buildkit_py.image.union import Union
    from buildkit_py.store.store import Store

# Smaller transfers are over before anybody could read of them.
WORTH_SHOWING = 4 << 20


class Filesystems:
    """Those of one build. Safe to share among threads; methods raise as `Materializer.trees` does."""

    def __init__(self, store: Store, materializer: Materializer, emit: Emit) -> None:
        self._store = store
        self._materializer = materializer
        self._emit = emit

    def trees(self, snapshot: str, step_id: str = "") -> Trees:
        """The layers of a snapshot as directories. What has to be fetched is told of as progress of a step."""

        def progress(what: str, done: int, total: int) -> None:
            if step_id and total > WORTH_SHOWING:
                self._emit(StepProgress(step_id, what, done, total))

        return self._materializer.trees(self._store.snapshots.layers(snapshot), progress)

    def union(self, snapshot: str) -> Union:
        """A snapshot to be read without mounting it."""
        from buildkit_py.image.union import Union

        return Union(self.trees(snapshot).roots)

    def is_impure(self, snapshot: str) -> bool:
        """Whether it stands on this machine's own root, so that it must not leave it."""
        return self._materializer.is_impure(self._store.snapshots.layers(snapshot))
