"""Reading a small file whole: a Buildfile, a configuration, what a person wrote and may have named by mistake."""

from __future__ import annotations

import errno
import os

# No such file has more; a device may have no end.
MOST = 64 << 20


def read_whole(path: str) -> bytes:
    """The bytes of a file. Raises `OSError`, with EFBIG for one of more than 64 MiB."""
    with open(path, "rb") as file:
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data
