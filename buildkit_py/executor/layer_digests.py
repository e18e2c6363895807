"""Digests of large files in layers, noted beside the layer: a `COPY --from` is looked up by the content that it takes,
and reads what it takes from a layer that stayed only once.

A file's number, size and times have to be as they were when it was read, as
those of a context's files (`context_tree`): a layer that was written to, or
unpacked anew, is read again.
"""

from __future__ import annotations

import os
from time import time_ns

from buildkit_py.digest import is_hex
from buildkit_py.errors import PybuildError
from buildkit_py.image.content import file_digest
from buildkit_py.image.entry import FILE
from buildkit_py.store.scan import COARSE_TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.image.entry import Entry
    from buildkit_py.store.layers import Layers

# To look up what is smaller takes as long as to read it.
LARGE = 256 << 10
_NOTE = "digests"
_MOST = 10_000  # of one layer


class LayerDigests:
    """Those of a store's layers, for one look at them. `write` notes what was learnt. `clock` gives nanoseconds."""

    def __init__(self, layers: Layers, clock: Callable[[], int] = time_ns) -> None:
        self._layers = layers
        self._clock = clock
        self._known: dict[str, dict[str, str]] = {}  # by layer and path: number, size, times and digest, in words
        self._learnt: set[str] = set()

    def of(self, entry: Entry) -> bytes:
        """The digest of a FILE. Raises `OSError` where it cannot be read."""
        if entry.kind != FILE or entry.size < LARGE or entry.digest is not None or entry.data is not None:
            return file_digest(entry)
        layer, _, path = entry.source.removeprefix(f"{self._layers.dir}/").partition("/")
        if not is_hex(layer) or not path:
            return file_digest(entry)  # of this machine's own root
        known = self._of_layer(layer)
        now, seen = self._clock(), _stamp(entry.source)
        stamp, _, digest = known.get(path, "").rpartition(" ")
        if stamp == seen[1]:
            return bytes.fromhex(digest)
        found = file_digest(entry)
        # What was written to so shortly before may be so again without another time (`store.scan`).
        if seen == _stamp(entry.source) and seen[0] < now - COARSE_TICK and len(known) < _MOST:
            known[path] = f"{seen[1]} {found.hex()}"
            self._learnt.add(layer)
        return found

    def write(self) -> None:
        """Note what was learnt. That it cannot be is no harm."""
        while self._learnt:
            layer = self._learnt.pop()
            lines = [f"{words} {path}\0" for path, words in sorted(self._known[layer].items())]
            try:
                self._layers.set_note(layer, _NOTE, "".join(lines).encode("utf-8", "surrogateescape"))
            except PybuildError:
                pass

    def _of_layer(self, layer: str) -> dict[str, str]:
        if layer not in self._known:
            self._known[layer] = known = {}
            data = self._layers.note(layer, _NOTE) or b""
            for line in data.decode("utf-8", "surrogateescape").split("\0")[:-1]:
                *words, path = line.split(" ", 5)
                known[path] = " ".join(words)
        return self._known[layer]


def _stamp(path: str) -> tuple[int, str]:
    """When a file last changed, and what says whether it is still the same."""
    status = os.lstat(path)
    return status.st_ctime_ns, f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
