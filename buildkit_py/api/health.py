"""Waiting until a container is healthy: for `pybuild wait --healthy`, and for who starts containers in an order."""

from __future__ import annotations

import select
import time

from buildkit_py.errors import NotHealthy, UsageError
from buildkit_py.runner import control
from buildkit_py.runner.health import HEALTHY, NO_END, UNHEALTHY, Health
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.containers import About, Containers

# How much of a check's output is said, in lines: the last ones.
_LINES = 20
# Seconds that one poll(2) is asked to wait: it takes 24 days at most, and a person may mean "for ever".
_LONGEST = 60.0


def wait_for_health(text: str, *, seconds: float | None = None, store: str = "") -> str:
    """Wait until a container is healthy, for so many seconds at most, None for any number; its name.

    Raises `NotHealthy` with what its last check wrote as soon as that is not to come, also where it does not run; and
    `UsageError` where there is no such container, or nobody checks its health.
    """
    containers = Store.open(store).containers
    about = containers.find(text)
    if not about.body.get("check"):
        raise UsageError(
            f"nobody checks the health of the container `{about.name}`",
            hint="its image has no HEALTHCHECK; `--health-cmd` of `pybuild run` says what it is to be",
        )
    end = None if seconds is None else time.monotonic() + seconds
    if (supervisor := control.connect(containers.path(about.id))) is not None:
        with supervisor:
            _await(supervisor, containers, about, end)
            return about.name
    raise _ended(containers, about)


def _await(supervisor: control.Socket, containers: Containers, about: About, end: float | None) -> None:
    try:
        control.send(supervisor, "health")
    except OSError:
        raise _ended(containers, about) from None  # it has just ended
    while _says_something(supervisor, end):
        match control.receive(supervisor):
            case ("health", status) if status == HEALTHY:
                return
            case ("health", status) if status == UNHEALTHY:
                raise _failure(f"the container `{about.name}` is unhealthy", containers, about)
            case ("health", _):
                continue
            case _:
                raise _ended(containers, about)
    raise _failure(f"the container `{about.name}` is not healthy in time", containers, about)


def _says_something(supervisor: control.Socket, end: float | None) -> bool:
    """Wait until there is something to receive, or the connection's end; False where the time has come before."""
    poll = select.poll()
    poll.register(supervisor.fileno(), select.POLLIN)
    while True:
        left = _LONGEST if end is None else min(end - time.monotonic(), _LONGEST)
        if poll.poll(max(0.001, left) * 1000):
            return True
        if end is not None and time.monotonic() >= end:
            return False


def _ended(containers: Containers, about: About) -> NotHealthy:
    return _failure(f"the container `{about.name}` is not running", containers, about)


def _failure(message: str, containers: Containers, about: About) -> NotHealthy:
    state = containers.state(about.id)
    health = Health(*state.health)
    said = health.output.splitlines()[-_LINES:]
    end = f"ended with the code {health.code}" if health.code != NO_END else "came to no end"
    notes = (f"its last check {end}" + ":" * bool(said), *said) if health != Health() else ()
    return NotHealthy(message, notes=notes, hint=f"`pybuild logs {about.name}` shows what it wrote")
