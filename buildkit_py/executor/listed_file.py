"""The digest of a file of a context: of exactly the file that was listed, or none at all."""

from __future__ import annotations

import os
import time

from buildkit_py.errors import ContextError
from buildkit_py.image.true_path import open_true
from buildkit_py.store.scan import TICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.image.entry import Entry


def hash_listed(entry: Entry) -> bytes:
    """BLAKE3 of a file's bytes. Raises `ContextError` if it is not what was listed, changes, or cannot be read."""
    from blake3 import blake3

    try:
        fd = open_true(entry.source)
    except OSError as problem:
        raise ContextError(f"cannot read `{entry.path}`: {problem.strerror}", at=entry.source) from problem
    try:
        before = os.fstat(fd)
        age = time.time_ns() - max(before.st_ctime_ns, before.st_mtime_ns)
        if age < TICK:
            # A change within the same tick would not show: read later than the tick of the last change.
            time.sleep(min(TICK - age, TICK) / 1e9)
        hasher = blake3()
        left = entry.size
        while piece := os.read(fd, 1 << 20):
            hasher.update(piece)
            left -= len(piece)
        seen = os.fstat(fd)
    except OSError as problem:
        raise ContextError(f"cannot read `{entry.path}`: {problem.strerror}", at=entry.source) from problem
    finally:
        os.close(fd)
    if left or seen.st_mtime_ns != entry.mtime or seen.st_ctime_ns != before.st_ctime_ns:
        raise ContextError(
            f"`{entry.path}` changed while it was being read", at=entry.source, hint="run the build again"
        )
    return hasher.digest()
