"""Ulimits: what one process may have of a resource (getrlimit(2)), under the names that docker's `--ulimit` takes.

The numbers are those of every architecture but alpha, mips and sparc (include/uapi/asm-generic/resource.h).
"""

from __future__ import annotations

from buildkit_py.sandbox import syscalls

# Position is the number.
_NAMES = """
cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime
"""
NAMES = tuple(_NAMES.split())
UNLIMITED = (1 << 64) - 1


def highest(name: str) -> int:
    """The hard limit that this process has, which nothing that it starts gets above. Raises `KeyError`."""
    return syscalls.getrlimit(number(name))[1]


def number(name: str) -> int:
    """The kernel's number of a resource. Raises `KeyError`."""
    if name not in NAMES:
        raise KeyError(name)
    return NAMES.index(name)
