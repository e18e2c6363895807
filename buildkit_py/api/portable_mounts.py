"""Cache mounts that travel: restored when a step first wants one, saved when the build ends."""

from __future__ import annotations

import threading
import time

from buildkit_py.errors import PybuildError
from buildkit_py.events import Notice
from buildkit_py.portable import artifact, mounts
from buildkit_py.portable.artifact import Signed, believed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.session import Session
    from buildkit_py.events import Emit
    from buildkit_py.portable.mounts import KeptMount
    from buildkit_py.portable.place import Place
    from buildkit_py.store.blobs import VerifiedReader
    from buildkit_py.store.layers import LayerBlob

# What no build used for so long is not kept any more.
_KEPT = 30 * 86_400


class PortableMounts:
    """Those at some places, of which the first that has a mount gives it. `key` is what documents are signed with."""

    def __init__(self, session: Session, emit: Emit, places: Sequence[Place], key: bytes) -> None:
        self._session = session
        self._emit = emit
        self._places = places
        self._key = key
        self._lock = threading.Lock()
        self._known: dict[str, tuple[KeptMount, Place]] | None = None

    def restore(self, name: str, directory: str) -> bool:
        """Fill a new cache mount; False where no place has it, or could give it. What goes wrong is a warning."""
        from buildkit_py.portable.restore_mounts import restore

        with self._lock:
            if self._known is None:
                self._known = {}
                for place in reversed(self._places):
                    self._known.update({name: (kept, place) for name, kept in self._read(place).items()})
        found = self._known.get(name)
        if found is None:
            return False
        kept, place = found
        session = self._session
        try:
            restore(session.store, session.fetcher(), session.identity, kept, directory, place.origin)
            return True
        except PybuildError as problem:
            self._emit(Notice("warning", f"the cache mount `{kept.id}` begins empty: {problem.message}"))
        except OSError as problem:
            self._emit(Notice("warning", f"the cache mount `{kept.id}` begins empty: {problem.strerror}"))
        self._empty(directory)
        return False

    def save(self, place: Place, used: dict[str, str]) -> int:
        """Write the mounts that were used to a place, over what it has; how many bytes had to be sent.

        Raises `SourceError`, `StoreError`. A mount that is in use or cannot be packed keeps what was saved before.
        """
        from buildkit_py.portable.save_mounts import save

        if not used:
            return 0
        store = self._session.store
        old = self._read(place)
        now = time.time()
        new = {name: kept for name, kept in old.items() if now - kept.used < _KEPT}
        for name, id in used.items():
            held = store.mounts.hold(name)
            if held is None:
                self._emit(Notice("info", f"the cache mount `{id}` is in use and was not saved"))
                continue
            with held:
                try:
                    new[name] = save(store, id, held.path, old.get(name))
                except PybuildError as problem:
                    self._emit(Notice("warning", f"the cache mount `{id}` was not saved: {problem.message}"))
        if new == old:
            return 0
        packs = list({blob.digest: blob for kept in new.values() for blob in kept.packs}.values())
        data = mounts.dump(new)

        def source(blob: LayerBlob) -> VerifiedReader:
            return store.blobs.open(blob.digest)

        sent = place.write(Signed(data, artifact.sign(data, self._key)), packs, source)
        for blob in packs:
            store.blobs.delete(blob.digest)  # the mount itself is here
        return sent

    def _read(self, place: Place) -> dict[str, KeptMount]:
        try:
            signed = place.read()
            if signed is None:
                return {}
            if not believed(signed, self._key):
                raise PybuildError("they are not signed with the key in PYBUILD_CACHE_KEY")
            return mounts.load(signed.data)
        except PybuildError as problem:
            self._emit(Notice("warning", f"the cache mounts at {place.name} are not used: {problem.message}"))
            return {}

    def _empty(self, directory: str) -> None:
        import os

        from buildkit_py.store.remove import remove_tree

        for name in os.listdir(directory):
            remove_tree(f"{directory}/{name}")
