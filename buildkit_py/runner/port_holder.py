"""Who holds a port of this machine: a process that has a socket bound to it, as far as this user may see."""

from __future__ import annotations

import os

# tcp_states.h; a socket of UDP is never in another one than the second.
_LISTENS, _UDP_OPEN = "0A", "07"


def holder(port: int, protocol: str) -> str:
    """In words: `process 123 (nginx)`, or what else can be said."""
    inodes = _inodes(port, protocol)
    for pid in _processes():
        if _has_one_of(pid, inodes):
            return f"process {pid} ({_name(pid)})"
    return "another program" if inodes else "something that has ended since"


def _inodes(port: int, protocol: str) -> set[str]:
    """Of the sockets that are bound to a port (/proc/net/tcp, proc_pid_net(5))."""
    found: set[str] = set()
    wanted = f":{port:04X}"
    state = _LISTENS if protocol == "tcp" else _UDP_OPEN
    for name in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/self/net/{name}", encoding="ascii") as file:
                rows = [line.split() for line in file]
        except OSError:
            continue
        found.update(f"socket:[{row[9]}]" for row in rows[1:] if row[1].endswith(wanted) and row[3] == state)
    return found


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _has_one_of(pid: int, inodes: set[str]) -> bool:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:  # another user's, or gone
        return False
    for name in names:
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}") in inodes:
                return True
        except OSError:
            continue
    return False


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return "it has ended"
