"""What a container wrote, as the entries of a layer, read while the container may go on writing.

`image.overlay_diff` says how an upper directory shows what is gone, and reads
one that nobody uses any more, by its paths. Here each name is opened below the
directory that it is in, so that no link that the container makes leads out.
"""

from __future__ import annotations

import os

from buildkit_py.errors import StoreError
from buildkit_py.image.entry import CHAR, DIR, FILE, WHITEOUT, Entry
from buildkit_py.image.order import in_order
from buildkit_py.image.overlay_marks import prefix
from buildkit_py.runner.copying.tree_source import TreeSource


def upper_entries(upper: str) -> list[Entry]:
    """What an upper directory adds, changes and hides, in the order of `image.order`; as `overlay_diff.diff`.

    The bytes of a file are at its `source`, and are read by somebody who sees to it that it is still the same one.
    Raises `StoreError`, and `OSError` where something cannot be read.
    """
    upper = os.path.realpath(upper)
    top = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = [_in_a_layer(entry, fd, upper) for entry, fd in TreeSource(top, "").entries() if entry.path]
    finally:
        os.close(top)
    return in_order(found)


def _in_a_layer(entry: Entry, fd: int, upper: str) -> Entry:
    if entry.kind == CHAR and entry.rdev == 0:
        return Entry(entry.path, WHITEOUT, 0)
    if entry.kind not in (FILE, DIR):
        return entry
    place = f"/proc/self/fd/{fd}"
    names = [name for name in os.listxattr(place) if name.startswith(prefix())]
    marks = {name.partition(".overlay.")[2]: os.getxattr(place, name) for name in names}
    if "redirect" in marks or "metacopy" in marks:
        raise StoreError(f"`{entry.path}` was written by an overlay with features that pybuild does not use", at=upper)
    if entry.kind == DIR:
        return entry._replace(opaque=marks.get("opaque") == b"y")
    if "whiteout" in marks and entry.size == 0:
        return Entry(entry.path, WHITEOUT, 0)
    return entry._replace(source=f"{upper}/{entry.path}")
