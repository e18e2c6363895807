"""What a directory tree is to a COPY, found by the plainest means: what the digest of a context is checked against."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_KEPT = ("user.", "security.capability")


def state(top: Path) -> str:
    """Everything below `top` that may be seen in an image, as text: two trees with equal texts copy alike.

    Neither times nor owners: a context's files belong to root.
    """
    names: dict[tuple[int, int], list[str]] = {}
    found: list[tuple[object, ...]] = []
    for directory, below, files in os.walk(top):
        for name in (*below, *files):
            path = Path(directory, name)
            seen = path.lstat()
            relative = str(path.relative_to(top))
            kind = stat.S_IFMT(seen.st_mode)
            body: object = ""
            if kind == stat.S_IFREG:
                body = path.read_bytes()
                names.setdefault((seen.st_dev, seen.st_ino), []).append(relative)
            elif kind == stat.S_IFLNK:
                body = os.readlink(path)
            attributes = {
                one: os.getxattr(path, one, follow_symlinks=False)
                for one in sorted(os.listxattr(path, follow_symlinks=False))
                if one.startswith(_KEPT)
            }
            mode = 0 if kind == stat.S_IFLNK else stat.S_IMODE(seen.st_mode)
            found.append((relative, kind, mode, attributes, body))
    shared = sorted(sorted(group) for group in names.values() if len(group) > 1)
    return repr((sorted(found, key=lambda one: str(one[0])), shared))
