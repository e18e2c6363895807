"""The order in which a directory lists its names, which readdir(3) leaves to the filesystem, turned round.

tmpfs, XFS and Btrfs list names by when they were made, so to make them again in
another order changes it. ext4 with its `dir_index` lists them by a hash whose
secret is the filesystem's own: there nothing can be done.
"""

from __future__ import annotations

import os
import tempfile

_TRIED = tuple(f"name-{number}" for number in range(12))


def keeps_order(directory: str) -> bool:
    """Whether the order of creation shows in what is below `directory`. Raises `OSError`."""
    listed = []
    for names in (_TRIED, _TRIED[::-1]):
        with tempfile.TemporaryDirectory(dir=directory) as tried:
            for name in names:
                os.close(os.open(f"{tried}/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            listed.append(os.listdir(tried))
            for name in names:
                os.unlink(f"{tried}/{name}")
    return listed[0] != listed[1]


def turn(tree: str, aside: str) -> None:
    """Let every directory of a tree list its names the other way round; its times stay.

    `aside` is a path on the same filesystem where nothing is. Nobody else may use the tree meanwhile. Raises `OSError`.
    """
    os.mkdir(aside, 0o700)
    for directory, _, _ in os.walk(tree, topdown=False):
        names = os.listdir(directory)
        if len(names) < 2:
            continue
        status = os.lstat(directory)
        # Where the newest name comes first, the same order again is the turned one; else the reverse is.
        for order in (names, names[::-1]):
            for name in names:
                os.rename(f"{directory}/{name}", f"{aside}/{name}")
            for name in order:
                os.rename(f"{aside}/{name}", f"{directory}/{name}")
            if os.listdir(directory) != names:
                break
        os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.rmdir(aside)
