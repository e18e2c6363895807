"""The filter for docker's default capabilities, compiled beforehand: nearly every sandbox wants this one.

`filters/MACHINE.bpf` is what `seccomp.compile_filter` makes, which takes
2 ms; a test compares them. After a change of the policy they are made anew:

    python -c "from buildkit_py.sandbox import ready_filter; ready_filter.write()"
"""

from __future__ import annotations

import os

from buildkit_py.sandbox.capabilities import DEFAULT
from buildkit_py.sandbox.failure import SetupFailure, stage
from buildkit_py.sandbox.syscalls import MACHINE

MACHINES = ("x86_64", "aarch64")
_LARGEST = 1 << 16


def path(machine: str) -> str:
    """Where the filter for a machine is."""
    return f"{os.path.dirname(__file__)}/filters/{machine}.bpf"


def ready_filter(capabilities: int) -> bytes | None:
    """The filter for a bounding set; None if it has to be compiled. Raises `SetupFailure` where there is no policy."""
    if MACHINE not in MACHINES:
        raise SetupFailure(f"filter system calls: the machine {MACHINE} has no table")
    if capabilities != DEFAULT:
        return None
    with stage("read the system call filter", path(MACHINE)):
        fd = os.open(path(MACHINE), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, _LARGEST)
        finally:
            os.close(fd)


def write() -> None:
    """Make the files from the policy as it is now."""
    from buildkit_py.sandbox.seccomp import compile_filter

    for machine in MACHINES:
        with open(path(machine), "wb") as file:
            file.write(compile_filter(DEFAULT, machine))
