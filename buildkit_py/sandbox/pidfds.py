"""Pidfds: what the kernel tells of the process behind one, whose number may be another process's by now."""

from __future__ import annotations

import os
import select


def pid_of(pidfd: int) -> str:
    """The number of a process, from what /proc says of its pidfd; "" for one that has ended."""
    with open(f"/proc/self/fdinfo/{pidfd}", "rb") as file:
        for line in file:
            if line.startswith(b"Pid:"):
                number = line.split()[1].decode()
                return number if int(number) > 0 else ""
    return ""


def has_ended(pidfd: int) -> bool:
    """Whether a process has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def is_elsewhere(pidfd: int, kind: str) -> bool:
    """Whether a process is in another namespace of a kind ("user", "net", …) than this one.

    Raises `ProcessLookupError` for one that has ended, `OSError` where this process may not look.
    """
    pid = pid_of(pidfd)
    try:
        differs = not pid or not os.path.samestat(os.stat(f"/proc/{pid}/ns/{kind}"), os.stat(f"/proc/self/ns/{kind}"))
    except OSError:
        if not has_ended(pidfd):
            raise
    # Only now it is certain that the number was that of the process, and of none that came after it.
    if has_ended(pidfd):
        raise ProcessLookupError("the process has ended")
    return differs
