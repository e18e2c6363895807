"""The processes of a container, as this machine sees them."""

from __future__ import annotations

import os

from buildkit_py.api.containers import first_process
from buildkit_py.errors import SandboxError, UsageError
from buildkit_py.runner.process import look
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.runner.process import Process


def top(text: str, *, store: str = "") -> list[Process]:
    """All processes of a container, by their numbers on this machine. Raises `UsageError` where it does not run."""
    return [process for pid in _pids(text, store) if (process := look(pid)) is not None]


def ps(text: str, options: Sequence[str], *, store: str = "") -> str:
    """What ps(1) of this machine says of the processes of a container, with these options.

    Raises `UsageError` where the container does not run, or ps does not take the options; `SandboxError` without a ps.
    """
    import subprocess

    from buildkit_py.sandbox.userns import find_program

    program = find_program("ps")
    if not program:
        raise SandboxError("there is no ps on this machine", hint="leave its options out, or install procps")
    pids = _pids(text, store)
    # Nothing but these is looked at (ps(1), -q). Not every ps has that, nor takes it with every other option.
    for more in (["-q", ",".join(map(str, pids))], []):
        done = subprocess.run([program, *options, *more], capture_output=True, text=True, errors="replace", check=False)
        if more and done.returncode == 0:
            return done.stdout
    return _picked(done.stdout, done.stderr, pids)


def _picked(output: str, problem: str, pids: list[int]) -> str:
    """The lines of these processes."""
    lines = output.splitlines(keepends=True)
    heads = lines[0].split() if lines else []
    if "PID" not in heads:
        said = problem.strip().splitlines()
        raise UsageError(
            "ps did not say which processes these are" + (f": {said[0]}" if said else ""),
            hint="its options have to leave the column PID in",
        )
    column = heads.index("PID")
    wanted = set(map(str, pids))
    found = [line for line in lines[1:] if (line.split(None, column + 1) + [""] * (column + 1))[column] in wanted]
    return "".join([lines[0], *found])


def _pids(text: str, store: str) -> list[int]:
    from buildkit_py.sandbox.processes import processes_of

    containers = Store.open(store).containers
    about = containers.find(text)
    pidfd = first_process(containers, about)
    if pidfd < 0:
        raise UsageError(f"the container `{about.name}` is not running", hint=f"`pybuild start {about.name}` starts it")
    try:
        found = processes_of(pidfd)
    finally:
        os.close(pidfd)
    if not found:
        raise UsageError(f"the container `{about.name}` has just ended")
    return found
