"""Overlay's marks: the extended attributes that say in a layer's directory what is hidden of the layers below.

They are `trusted.overlay.…`, or `user.overlay.…` where this process is no root of the machine and mounts with
`userxattr` (kernel documentation, filesystems/overlayfs). Of the two only those that its mounts obey are marks. The
others are attributes like any, of a file that some other engine left or that a step wrote; they are no part of a
layer either, for where they come next they may be marks.
"""

from __future__ import annotations

import os

TRUSTED, USER = "trusted.overlay.", "user.overlay."
OVERLAY_XATTRS = (TRUSTED, USER)
# user_namespaces(7): what it looks like where all ids are themselves.
_WHOLE = b"0 0 4294967295".split()

_known = ""


def prefix() -> str:
    """What the names of marks begin with here."""
    global _known  # noqa: PLW0603
    if not _known:
        with open("/proc/self/uid_map", "rb") as file:
            is_root = os.geteuid() == 0 and file.read().split() == _WHOLE
        _known = TRUSTED if is_root else USER
    return _known
