"""The options of `pybuild run` for the health check of a container."""

from __future__ import annotations

from buildkit_py.errors import UsageError
from buildkit_py.frontend.buildfile.duration import parse_duration
from buildkit_py.image.config import Healthcheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.options import Parsed

_OFF = "no-healthcheck"
_TIMES = ("interval", "timeout", "start-period", "start-interval")
_OPTIONS = (_OFF, "health-cmd", "health-retries", *[f"health-{name}" for name in _TIMES])
_LEAST = 1_000_000  # docker's millisecond


def health_check(parsed: Parsed) -> Healthcheck:
    """What these options ask for; what they leave open is the image's. Raises `UsageError`."""
    given = [name for name in _OPTIONS if name in parsed.given and name != _OFF]
    if parsed.has(_OFF):
        if given:
            raise UsageError(f"`--{_OFF}` and `--{given[0]}` contradict each other", hint="leave one of them out")
        return Healthcheck(("NONE",))
    test: tuple[str, ...] = ()
    if "health-cmd" in given:
        if not parsed.one("health-cmd"):
            raise UsageError("`--health-cmd` has no command", hint=f"`--{_OFF}` checks nothing")
        test = ("CMD-SHELL", parsed.one("health-cmd"))
    times = {name.replace("-", "_"): _time(parsed, f"health-{name}") for name in _TIMES if f"health-{name}" in given}
    return Healthcheck(test, retries=_retries(parsed) if "health-retries" in given else 0, **times)


def _time(parsed: Parsed, name: str) -> int:
    """Nanoseconds; 0 is what nobody said, as docker has it."""
    text = parsed.one(name)
    try:
        time = parse_duration(text)
    except ValueError as problem:
        raise UsageError(f"`--{name}`: {problem}", hint="write it as 30s, 1m30s") from problem
    if time < 0 or 0 < time < _LEAST:
        raise UsageError(f"`--{name} {text}` is less than a millisecond")
    return time


def _retries(parsed: Parsed) -> int:
    text = parsed.one("health-retries")
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"`--health-retries {text}` is no number of checks")
    return int(text)
