"""What a container uses: of processors, memory, networks and disks, at one moment.

Its control groups say so where it has them, of version 1 or 2 (kernel
documentation, cgroup-v1 and cgroup-v2). Else /proc does, of its processes and
of its network namespace: those that live, with what they inherited from those
they waited for. What neither says is None.
"""

from __future__ import annotations

import os
import time
from functools import cache

from buildkit_py.record import Record
from buildkit_py.runner.process import look
from buildkit_py.sandbox.pidfds import pid_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# More than any machine has: what a group of version 1 says that has no limit.
_NO_LIMIT = 1 << 60
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Usage(Record):
    """`at` is on the monotonic clock, `cpu` in seconds, `pids` counts threads, all else is in bytes.

    `memory` is without the pages of files that the kernel may drop at once, as docker counts; `limit` is the machine's
    memory where there is no other one. Networks are all but the loopback.
    """

    at: float
    cpu: float | None = None
    memory: int | None = None
    limit: int = 0
    received: int | None = None
    sent: int | None = None
    read: int | None = None
    written: int | None = None
    pids: int | None = None


def usage(pidfd: int, pids: Sequence[int], cgroups: tuple[str, ...]) -> Usage:
    """What a container uses now, of its first process, the numbers of all of them, and its control groups."""
    at = time.monotonic()
    processes = [process for pid in pids if (process := look(pid)) is not None]
    cpu = _cpu_of_group(cgroups)
    if cpu is None:
        cpu = sum([process.cpu + process.reaped for process in processes])
    memory, limit = _memory_of_group(cgroups)
    if memory is None:
        memory = _sum(_memory_of(pid) for pid in pids)
    received, sent = _network(pid_of(pidfd))
    read, written = _disks_of_group(cgroups)
    if read is None:
        done = [found for pid in pids if (found := _disks_of(pid)) is not None]
        if done:
            read, written = sum([one for one, _ in done]), sum([other for _, other in done])
    tasks = _number(cgroups, "pids.current")
    if tasks is None:
        tasks = sum([process.threads for process in processes])
    return Usage(at, cpu, memory, min(limit or _NO_LIMIT, machine_memory()), received, sent, read, written, tasks)


def _cpu_of_group(cgroups: tuple[str, ...]) -> float | None:
    microseconds = _value(cgroups, "cpu.stat", "usage_usec")
    if microseconds is not None:
        return microseconds / 1e6
    nanoseconds = _number(cgroups, "cpuacct.usage")
    return nanoseconds / 1e9 if nanoseconds is not None else None


def _memory_of_group(cgroups: tuple[str, ...]) -> tuple[int | None, int]:
    """What is used, and the limit, 0 for none."""
    for used, limit, inactive in (
        ("memory.current", "memory.max", "inactive_file"),
        ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"),
    ):
        count = _number(cgroups, used)
        if count is not None:
            return max(0, count - (_value(cgroups, "memory.stat", inactive) or 0)), _number(cgroups, limit) or 0
    return None, 0


def _memory_of(pid: int) -> int | None:
    """Its part of the memory, what it shares with others divided by their number; else all that it has mapped."""
    part = _value((f"/proc/{pid}",), "smaps_rollup", "Pss:")
    if part is not None:
        return part * 1024
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE if len(fields) > 1 else None


def _network(pid: str) -> tuple[int | None, int | None]:
    try:
        if not pid or os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/self/ns/net")):
            return None, None  # the machine's own, which others use, too
    except OSError:
        return None, None
    received = sent = 0
    lines = _read(f"/proc/{pid}/net/dev").splitlines()[2:]
    for line in lines:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        if name.strip() != "lo" and len(fields) > 8:
            received += int(fields[0])
            sent += int(fields[8])
    return (received, sent) if lines else (None, None)


def _disks_of_group(cgroups: tuple[str, ...]) -> tuple[int | None, int | None]:
    for path in cgroups:
        if os.path.exists(f"{path}/io.stat"):
            words = [word.partition("=") for line in _read(f"{path}/io.stat").splitlines() for word in line.split()]
            read, written = [
                sum([int(value) for name, _, value in words if name == wanted]) for wanted in ("rbytes", "wbytes")
            ]
            return read, written
    return None, None


def _disks_of(pid: int) -> tuple[int, int] | None:
    read, written = [_value((f"/proc/{pid}",), "io", name) for name in ("read_bytes:", "write_bytes:")]
    return (read, written) if read is not None and written is not None else None


@cache
def machine_memory() -> int:
    """The machine's memory in bytes."""
    return (_value(("/proc",), "meminfo", "MemTotal:") or 0) * 1024


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _number(directories: tuple[str, ...], name: str) -> int | None:
    """The number that a file of the first of these that has it holds."""
    for directory in directories:
        text = _read(f"{directory}/{name}").strip()
        if text.isdigit():
            return int(text)
    return None


def _value(directories: tuple[str, ...], name: str, key: str) -> int | None:
    """The number behind a key, in such a file of a key a line."""
    for directory in directories:
        for line in _read(f"{directory}/{name}").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == key and words[1].isdigit():
                return int(words[1])
    return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
