"""The machine's control groups, where the controllers are version 1's: for the cases in which limits are set."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = "/sys/fs/cgroup"


@contextmanager
def with_controllers() -> Iterator[None]:
    """Each hierarchy at its usual place meanwhile (cgroups(7)); nothing where all controllers are version 2's."""
    hierarchies = version_1(Path("/proc/self/cgroup").read_text())
    if not hierarchies:
        yield
        return
    subprocess.run(("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", _ROOT), check=True)
    mounted = [_ROOT]
    try:
        for name in hierarchies:
            place = f"{_ROOT}/{name.removeprefix('name=')}"
            os.mkdir(place)
            subprocess.run(("mount", "-t", "cgroup", "-o", name, "cgroup", place), check=True)
            mounted.append(place)
        yield
    finally:
        # One by one: with --recursive what lies below the first would go, too.
        for place in reversed(mounted):
            subprocess.run(("umount", "--lazy", place), check=True)


def version_1(text: str) -> list[str]:
    """The hierarchies of version 1 in a /proc/PID/cgroup, as mount(8) takes them: "memory", "cpu,cpuacct"."""
    names = [line.split(":", 2)[1] for line in text.splitlines()]
    return [name for name in names if name]
