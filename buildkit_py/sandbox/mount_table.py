"""The mount table of this process, and whether it has changed since: a child's is a copy of what it was at the fork.

Where mounts are shared, as systemd has them, a copy that is a slave follows. In
a container, and on a machine without systemd, they are private, and it does not.
"""

from __future__ import annotations

import os
import select


class MountTable:
    """As it is now. Raises `OSError`."""

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        self._fd = -1
        self._fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)

    def has_changed(self) -> bool:
        """Whether something was mounted or unmounted since (proc_pid_mountinfo(5))."""
        poll = select.poll()
        poll.register(self._fd, select.POLLPRI)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Look no more; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()
