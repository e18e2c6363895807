"""Recent files: those of a cache mount that are saved where not all of them may be, the last used ones.

A file was used when it was read or written last, whichever is later. A mount
`relatime` (the usual one, mount(8)) notes a reading if the file was written or
changed since the one before, and else once a day; of a mount with `noatime`
only the writing is known.
"""

from __future__ import annotations

import os

from buildkit_py.image.entry import FILE, HARDLINK
from buildkit_py.portable.mounts import LATEST
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.image.entry import Entry

_SECOND = 10**9


class Recent(Record):
    """What is to be saved, when each path was used last (seconds since 1970), and what is left out: files, bytes."""

    entries: list[Entry]
    used: dict[str, int]
    left_out: int = 0
    bytes: int = 0


def recent(directory: str, entries: Sequence[Entry], limit: int = 0) -> Recent:
    """Of a directory's entries (in the order of `image.order`) so many as hold `limit` bytes, 0 for all.

    Directories stay, and a file goes with all its names. Raises `OSError`.
    """
    used = {entry.path: _used(f"{directory}/{entry.path}") for entry in entries}
    if not limit or sum(entry.size for entry in entries) <= limit:
        return Recent(list(entries), used)
    gone: set[str] = set()
    room = limit
    files = [entry for entry in entries if entry.kind == FILE]
    for entry in sorted(files, key=lambda one: used[one.path], reverse=True):
        if entry.size <= room:
            room -= entry.size
        else:
            gone.add(entry.path)
    kept = [
        entry for entry in entries if entry.path not in gone and not (entry.kind == HARDLINK and entry.target in gone)
    ]
    return Recent(kept, used, len(gone), sum(entry.size for entry in files if entry.path in gone))


def _used(path: str) -> int:
    status = os.lstat(path)
    return min(max(0, status.st_atime_ns, status.st_mtime_ns) // _SECOND, LATEST)
