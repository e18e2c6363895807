"""A container's health: what its check is, when the next one is due, and what the results of checks come to.

The rules are docker's. A container is starting until a check of it succeeds, which makes it healthy, or as many in a
row fail as `retries` says, which makes it unhealthy; what fails in the start period counts once one has succeeded.
"""

from __future__ import annotations

from buildkit_py.errors import UsageError
from buildkit_py.image.config import Healthcheck
from buildkit_py.record import Record

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
# What of a check's output is kept: its last bytes.
MOST_OUTPUT = 4096
# docker's code for a check that did not come to an end of its own.
NO_END = -1
_INTERVAL, _TIMEOUT, _START_INTERVAL, _RETRIES = 30.0, 30.0, 5.0, 3  # docker's
_SECOND = 1_000_000_000


class Check(Record):
    """A check of a container: the command, and times in seconds; `retries` failures in a row make it unhealthy."""

    argv: tuple[str, ...]
    interval: float = _INTERVAL
    timeout: float = _TIMEOUT
    start_period: float = 0.0
    start_interval: float = _START_INTERVAL
    retries: int = _RETRIES


class Health(Record):
    """How a container is. `streak` counts the checks in a row that failed; `code` and `output` are of the last one."""

    status: str = STARTING
    streak: int = 0
    code: int = 0
    output: str = ""

    def after(self, check: Check, code: int, output: str, age: float) -> Health:
        """How it is after a check that began when the container was `age` seconds old."""
        if code == 0:
            return Health(HEALTHY, 0, code, output)
        if self.status == STARTING and age < check.start_period:
            return Health(STARTING, self.streak, code, output)
        streak = self.streak + 1
        return Health(UNHEALTHY if streak >= check.retries else self.status, streak, code, output)

    def pause(self, check: Check, age: float) -> float:
        """The seconds until the next check of a container that is `age` seconds old and is not being checked."""
        if self.status == STARTING and age < check.start_period:
            return check.start_interval
        return check.interval


def check_of(image: Healthcheck | None, shell: tuple[str, ...] | None, asked: Healthcheck | None) -> Check | None:
    """The check that an image and a request make together; None where there is to be none.

    What `asked` leaves open (no `test`, times and retries of 0) is the image's, and what that leaves open, docker's.
    `shell` is the image's own. Raises `UsageError` where something is asked of a check that is not there, and for one
    that cannot be understood.
    """
    base, asked = image or Healthcheck(), asked or Healthcheck()
    test = asked.test or base.test
    if not test or test[0] == "NONE":
        if not asked.test and asked != Healthcheck():
            raise UsageError("the image has no health check", hint="`--health-cmd` says what it is to be")
        return None
    kind, *words = test
    if kind not in ("CMD", "CMD-SHELL") or not words:
        raise UsageError(
            f"the health check begins with `{kind}`" + (", and has no command" if not words else ""),
            hint="it is CMD, CMD-SHELL or NONE, and then its command; `--no-healthcheck` does without it",
        )
    if kind == "CMD-SHELL":
        words = [*(shell or ("/bin/sh", "-c")), *words]

    def seconds(name: str, usual: float) -> float:
        time: int = getattr(asked, name) or getattr(base, name)
        return time / _SECOND if time > 0 else usual

    retries = asked.retries or base.retries
    return Check(
        tuple(words),
        interval=seconds("interval", _INTERVAL),
        timeout=seconds("timeout", _TIMEOUT),
        start_period=seconds("start_period", 0.0),
        start_interval=seconds("start_interval", _START_INTERVAL),
        retries=retries if retries > 0 else _RETRIES,
    )


def kept_output(data: bytes) -> str:
    """What of a check's output is kept, as text."""
    return data[-MOST_OUTPUT:].decode("utf-8", "replace")
