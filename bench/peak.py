"""The peak memory of a command: what the processes that run its own program hold together, at the worst moment."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence

from bench.race import Failure

_PAUSE = 0.005


def peak(command: Sequence[str], cwd: str, env: Mapping[str, str], program: str) -> int:
    """The greatest sum in bytes over the command's process and those of its descendants that run `program` too.

    The proportional set size is summed, which counts a page that n processes share as 1/n for each: a fork server
    shares most of its pages with its parent. Raises `Failure` if the command fails.
    """
    program = os.path.realpath(program)
    most = 0
    log = os.memfd_create("log")
    try:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while process.poll() is None:
            most = max(most, sum(held(number) for number in _family(process.pid) if _runs(number, program)))
            time.sleep(_PAUSE)
        if process.returncode:
            tail = os.pread(log, 1500, max(0, os.fstat(log).st_size - 1500)).decode(errors="replace").strip()
            raise Failure(f"{' '.join(command)}: exit code {process.returncode}\n{tail}")
    finally:
        os.close(log)
    return most


def _family(first: int) -> list[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name in brackets may have spaces and brackets in it.
                    parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
    family = [first]
    for number in family:
        family += [child for child, parent in parents.items() if parent == number]
    return family


def _runs(number: int, program: str) -> bool:
    try:
        return os.readlink(f"/proc/{number}/exe") == program
    except OSError:
        return False


def held(number: int, kind: str = "Pss") -> int:
    """The bytes of a kind of /proc/PID/smaps_rollup (proc_pid_smaps(5)) that a process has; 0 where it has ended."""
    try:
        with open(f"/proc/{number}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(f"{kind}:".encode()):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0
