"""A process, as /proc shows it at one moment (proc_pid_stat(5), proc_pid_status(5))."""

from __future__ import annotations

import os
from functools import cache

from buildkit_py.record import Record

# The first of eight major numbers of pseudo-terminals, of consoles, and the first minor of serial lines among these
# (kernel documentation, admin-guide/devices).
_PTS, _TTY, _SERIAL = 136, 4, 64


class Process(Record):
    """`uid` is its effective one. `cpu` are seconds that it ran, and `reaped` those of its children that have ended.

    `started` is in seconds since 1970. `state` is the kernel's letter, "Z" for one that has ended and waits to be
    noticed. `terminal` is "?" for none. `command` are its words, or its name in brackets where it has none.
    """

    pid: int
    parent: int
    uid: int
    state: str
    threads: int
    cpu: float
    reaped: float
    started: float
    terminal: str
    command: str


def look(pid: int) -> Process | None:
    """The process of a number; None where it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            head, _, rest = file.read().rpartition(b") ")
        with open(f"/proc/{pid}/status", "rb") as file:
            uids = next(line for line in file if line.startswith(b"Uid:")).split()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read()
        fields = rest.split()
        ticks = _ticks()
        name = head.partition(b" (")[2].decode("utf-8", "replace")
        command = words.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
        state = fields[0].decode()
        return Process(
            pid=pid,
            parent=int(fields[1]),
            uid=int(uids[2]),
            state=state,
            threads=int(fields[17]),
            cpu=(int(fields[11]) + int(fields[12])) / ticks,
            reaped=(int(fields[13]) + int(fields[14])) / ticks,
            started=_booted() + int(fields[19]) / ticks,
            terminal=_terminal(int(fields[4])),
            command=command or f"[{name}]" + (" <defunct>" if state == "Z" else ""),
        )
    except (OSError, StopIteration, IndexError):
        return None


def _terminal(number: int) -> str:
    if not number:
        return "?"
    major, minor = os.major(number), os.minor(number)
    if _PTS <= major < _PTS + 8:
        return f"pts/{(major - _PTS) * 256 + minor}"
    if major == _TTY:
        return f"tty{minor}" if minor < _SERIAL else f"ttyS{minor - _SERIAL}"
    return f"{major},{minor}"


@cache
def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")


@cache
def _booted() -> float:
    """When the machine was started, in seconds since 1970 (proc_stat(5))."""
    with open("/proc/stat", "rb") as file:
        return float(next(line for line in file if line.startswith(b"btime")).split()[1])
