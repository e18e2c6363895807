"""What containers use, again and again."""

from __future__ import annotations

import os
import time

from buildkit_py.api.containers import first_process
from buildkit_py.errors import UsageError
from buildkit_py.record import Record
from buildkit_py.runner.usage import Usage, usage
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit_py.store.containers import About, Containers

SECONDS = 1.0


class Stats(Record):
    """What a container uses: `percent` of one processor since the last time, and `usage` now."""

    id: str
    name: str
    percent: float | None
    usage: Usage


def stats(names: Sequence[str] = (), *, store: str = "") -> Iterator[list[Stats]]:
    """What containers use, each second from the first on: those of these names, or all that run, newest first.

    It ends when none of the named ones runs any more. Raises `UsageError` for one that does not run at first.
    """
    containers = Store.open(store).containers
    wanted = {containers.find(name).id for name in names}
    before: dict[str, Usage] = {}
    for about, one in _round(containers, wanted):
        before[about.id] = one
    for about in containers.all():
        if about.id in wanted and about.id not in before:
            raise UsageError(
                f"the container `{about.name}` is not running", hint=f"`pybuild start {about.name}` starts it"
            )
    while before or not wanted:
        time.sleep(SECONDS)
        found = _round(containers, wanted)
        yield [Stats(about.id, about.name, _percent(before.get(about.id), one), one) for about, one in found]
        before = {about.id: one for about, one in found}


def _round(containers: Containers, wanted: set[str]) -> list[tuple[About, Usage]]:
    from buildkit_py.sandbox.processes import processes_of_each

    running: list[tuple[About, int]] = []
    try:
        for about in containers.all():
            if (not wanted or about.id in wanted) and (pidfd := first_process(containers, about)) >= 0:
                running.append((about, pidfd))
        pids = processes_of_each([pidfd for _, pidfd in running])
        return [
            (about, usage(pidfd, of_it, containers.state(about.id).cgroups))
            for (about, pidfd), of_it in zip(running, pids, strict=True)
        ]
    finally:
        for _, pidfd in running:
            os.close(pidfd)


def _percent(before: Usage | None, now: Usage) -> float | None:
    if before is None or before.cpu is None or now.cpu is None or now.at <= before.at:
        return None
    return max(0.0, 100 * (now.cpu - before.cpu) / (now.at - before.at))
