"""Cache mounts that travel: restored when a step first wants one, saved when the build ends."""

from __future__ import annotations

import threading
import time

from buildkit_py.errors import PybuildError
from buildkit_py.events import Notice, warning
from buildkit_py.portable import mounts
from buildkit_py.portable.artifact import Signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.session import Session
    from buildkit_py.events import Emit
    from buildkit_py.portable.imports import Shelf
    from buildkit_py.portable.mounts import Kept, KeptMount
    from buildkit_py.portable.place import Place
    from buildkit_py.portable.signature import Signer
    from buildkit_py.store.blobs import VerifiedReader
    from buildkit_py.store.layers import LayerBlob

# What no build used for so long is not kept any more, nor are more keys of one mount than these.
_KEPT = 30 * 86_400
_KEYS = 5
# What travels of one mount where nobody says how much.
_LIMIT = 5 << 30


class PortableMounts:
    """Those at some places, of which the first that has a mount gives it. `signer` signs what is written."""

    def __init__(self, session: Session, emit: Emit, shelves: Sequence[Shelf], signer: Signer | None) -> None:
        self._session = session
        self._emit = emit
        self._shelves = shelves
        self._signer = signer
        self._lock = threading.Lock()
        self._known: list[tuple[Place, Kept]] | None = None

    def restore(self, name: str, key: str, directory: str) -> bool:
        """Fill a new cache mount; False where no place has it, or could give it. What goes wrong is a warning.

        What was saved under its key goes before what was saved of it last.
        """
        from buildkit_py.portable.restore_mounts import restore

        with self._lock:
            if self._known is None:
                self._known = [(shelf.place, self._read(shelf)) for shelf in self._shelves]
        found = [(place, kept) for place, there in self._known if (kept := mounts.find(there, name, key)) is not None]
        if not found:
            return False
        place, kept = next((one for one in found if one[1].key == key), found[0])
        session = self._session
        try:
            restore(session.store, session.fetcher(), session.identity, kept, directory, place.origin)
            return True
        except PybuildError as problem:
            self._emit(warning(f"the cache mount `{kept.id}` begins empty", problem))
        except OSError as problem:
            self._emit(Notice("warning", f"the cache mount `{kept.id}` begins empty: {problem.strerror}"))
        self._empty(directory)
        return False

    def save(self, shelf: Shelf, used: dict[tuple[str, str], str], limit: int = 0) -> int:
        """Write the mounts that were used to a place, over what it has; how many bytes had to be sent.

        `used` are ids by names and keys, `limit` is how many bytes of one mount may travel (0: what is usual). Raises
        `SourceError`, `StoreError`. A mount that is in use or cannot be packed keeps what was saved before.
        """
        if not used:
            return 0
        store = self._session.store
        old = self._read(shelf)
        now = time.time()
        new = {named: kept for named, kept in old.items() if now - kept.used < _KEPT}
        for (name, key), id in used.items():
            self._put(new, name, key, self._save(old, name, key, id, limit))
        if new == old:
            return 0
        packs = list({pack.blob.digest: pack.blob for kept in new.values() for pack in kept.packs}.values())
        data = mounts.dump(new)

        def source(blob: LayerBlob) -> VerifiedReader:
            return store.blobs.open(blob.digest)

        signature = self._signer.sign(data) if self._signer is not None else ""
        sent = shelf.place.write(Signed(data, signature), packs, source)
        for blob in packs:
            store.blobs.delete(blob.digest)  # the mount itself is here
        return sent

    def _save(self, old: Kept, name: str, key: str, id: str, limit: int) -> KeptMount | None:
        """One mount as it is now; None where that cannot be said."""
        from buildkit_py.portable.save_mounts import save

        store = self._session.store
        held = store.mounts.hold(name)
        if held is None:
            self._emit(Notice("info", f"the cache mount `{id}` is in use and was not saved"))
            return None
        with held:
            try:
                saved = save(store, id, key, held.path, mounts.find(old, name, key), limit or _LIMIT)
            except PybuildError as problem:
                self._emit(warning(f"the cache mount `{id}` was not saved", problem))
                return None
            except OSError as problem:
                self._emit(Notice("warning", f"the cache mount `{id}` was not saved: {problem.strerror}"))
                return None
        if saved.left_out:
            what = f"{saved.left_out} files ({saved.bytes} bytes) that were used least recently"
            self._emit(Notice("info", f"the cache mount `{id}` is larger than may travel: {what} are left out"))
        return saved.mount

    def _put(self, new: Kept, name: str, key: str, kept: KeptMount | None) -> None:
        """Add a mount as the last one, if it is another than before; of its keys the oldest go."""
        if kept is None or new.get((name, key)) == kept:
            return
        new.pop((name, key), None)
        new[name, key] = kept
        keys = [named for named in new if named[0] == name]
        for named in keys[:-_KEYS]:
            del new[named]

    def _read(self, shelf: Shelf) -> Kept:
        place, trust = shelf.values()
        try:
            signed = place.read()
            if signed is None:
                return {}
            # By their format, a signature of these is none of a record.
            if not trust.proves(signed.data, signed.signature):
                raise PybuildError(f"they are not signed {trust.whom}")
            return mounts.load(signed.data)
        except PybuildError as problem:
            self._emit(warning(f"the cache mounts at {place.name} are not used", problem))
            return {}

    def _empty(self, directory: str) -> None:
        import os

        from buildkit_py.store.remove import remove_tree

        for name in os.listdir(directory):
            remove_tree(f"{directory}/{name}")
