"""Whether a file was at rest while it was read: its ctime shows that, which nobody can set back as its mtime can be."""

from __future__ import annotations

import os

# Two changes within a tick of the kernel's clock have one time; as in `store/scan.py`, which imports nothing.
TICK = 20_000_000


def was_at_rest(fd: int, data: memoryview, seen: os.stat_result) -> bool:
    """Whether an open file holds just `data`, although its ctime is so late that it may have changed meanwhile.

    `seen` is what fstat said after reading.
    """
    again = os.pread(fd, len(data) + 1, 0)
    now = os.fstat(fd)
    return again == data and (now.st_ctime_ns, now.st_mtime_ns) == (seen.st_ctime_ns, seen.st_mtime_ns)
