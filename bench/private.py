"""The private place a benchmark runs in: namespaces and a tmpfs that vanish with it, and no mounts but the needed.

Everything is measured on a tmpfs: a file system with a journal, or one that
must not hand out a freed inode for a minute, times what others did before.
A long mount table slows all contenders, and not alike, so the mounts that
nobody needs are undone, in a mount namespace of the benchmark's own. In a
process namespace of its own no daemon outlives it, however it ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

_ROOT = "PYBUILD_BENCH_ROOT"
_CGROUPS = "/sys/fs/cgroup"
_SHARED = "/dev/shm"
_NEEDED = ("/", "/proc", "/sys", "/dev", "/dev/pts", _SHARED)


def run_inside(script: str, argv: Sequence[str]) -> int:
    """Run this script again in the private place; its exit code. Nothing of it is left afterwards."""
    root = tempfile.mkdtemp(prefix="pybuild-bench-", dir=_SHARED)
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, script, *argv],
        env={**os.environ, _ROOT: root},
    )

    def end(*_: object) -> None:
        process.kill()

    signal.signal(signal.SIGTERM, end)
    # Ctrl-C reaches the process inside as well, which ends in its own way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = process.wait()
        return code if code >= 0 else 128 - code
    finally:
        os.rmdir(root)


def settle() -> str | None:
    """In the private place: make the tmpfs, undo foreign mounts; the directory. None: this is not the private place."""
    root = os.environ.get(_ROOT)
    if root is None:
        return None
    # `unshare` leaves the signal as the outer process has it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for point in reversed(mount_points()):
        if point not in _NEEDED:
            subprocess.run(["umount", "--lazy", point], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root], check=True)
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", _CGROUPS], check=True)
    return root


def mount_points() -> list[str]:
    """The mount points of this namespace in the order of mounting (proc(5), mountinfo; octal escapes undone)."""
    with open("/proc/self/mountinfo", "rb") as file:
        return [line.split(b" ")[4].decode("unicode_escape") for line in file]


def discard(path: str) -> None:
    """Remove a tree, with whatever an engine left mounted in it."""
    for point in reversed(mount_points()):
        if point == path or point.startswith(path + "/"):
            subprocess.run(["umount", "--lazy", point], check=False)
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)
