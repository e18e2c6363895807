"""Restacking: what of a layer stays where it is laid over another base than it was made on."""

from __future__ import annotations

import os
import stat

from buildkit_py.executor.copy_select import only
from buildkit_py.image.entry import DIR
from buildkit_py.image.overlay_diff import diff, laid_over
from buildkit_py.image.overlay_marks import prefix
from buildkit_py.patterns import IgnoreRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.image.entry import Entry
    from buildkit_py.image.union import Union


def matching(directories: Sequence[str], inputs: tuple[str, ...]) -> list[Entry]:
    """The members of a layer that the patterns match, and the directories they are in, in the order of `image.order`.

    The layer is in these directories, lowest first. What matches a directory
    matches all in it; the last pattern that matches decides, a `!` takes back.
    """
    entries: list[Entry] = []
    for directory in directories:
        entries = laid_over(entries, diff(directory, hash_files=False))
    wanted: set[str] = set()
    # Each asked by itself: an ignore file's `!` that changes nothing of a directory is not asked about what is in it.
    for pattern in inputs:
        rule = IgnoreRules((pattern.removeprefix("!").removeprefix("/"),))
        matched = {entry.path for entry in entries if rule.ignored(entry.path)}
        wanted = wanted - matched if pattern.startswith("!") else wanted | matched
    return only(entries, wanted)


def merge_new_directories(upper: str, base: Union) -> None:
    """Let the directories of an overlay's upper that are new over `base` hide nothing of another base.

    The kernel marks each directory that a step makes as opaque, which means
    nothing where there was none below it. Raises `OSError`.
    """
    pending = [""]
    while pending:
        path = pending.pop()
        with os.scandir(f"{upper}/{path}") as found:
            names = [item.name for item in found if stat.S_ISDIR(item.stat(follow_symlinks=False).st_mode)]
        for name in names:
            inner = f"{path}/{name}" if path else name
            pending.append(inner)
            there = base.lookup(inner, follow=False)
            if there is not None and there.kind == DIR:
                continue
            real = f"{upper}/{inner}"
            for mark in os.listxattr(real):
                if mark == prefix() + "opaque":
                    os.removexattr(real, mark)
