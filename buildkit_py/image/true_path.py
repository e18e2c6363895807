"""Opening a file by its true path: one of which no part is a link.

Files are listed first and read later. `O_NOFOLLOW` alone refuses a link in
the place of the file, and follows one that took the place of a directory above
it meanwhile: then another file is read, perhaps one that whoever may write to
the context may not read.
"""

from __future__ import annotations

import errno
import os

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_true(path: str, flags: int = 0) -> int:
    """A descriptor for reading the file with that true path; never waits on a fifo. `flags` are more of open(2).

    Raises `OSError`, ELOOP where a part of the path is a link by now, or the file has another path.
    """
    fd = os.open(path, _READ | flags)
    try:
        # What the kernel reached, whichever way (proc_pid_fd(5)).
        if os.readlink(f"/proc/self/fd/{fd}") != path:
            raise OSError(errno.ELOOP, "a directory above it was replaced", path)
    except BaseException:
        os.close(fd)
        raise
    return fd
