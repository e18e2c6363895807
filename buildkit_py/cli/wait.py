"""`pybuild wait`: until containers have ended for good, or are healthy."""

from __future__ import annotations

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.errors import UsageError


def parser() -> Command:
    """The command's table."""
    return Command(
        "wait",
        "wait until containers have ended, and print their exit codes, or until they are healthy",
        ("pybuild wait CONTAINER…", "pybuild wait --healthy [--timeout=SECONDS] CONTAINER…"),
        (
            Option(("--healthy",), "wait until they are healthy, and print their names"),
            Option(("--timeout",), "how long at most for each; only with --healthy", "SECONDS"),
        ),
        about=(
            "One that is started again and again has not ended. Of one that ended before it is the last code. "
            "With `--healthy`, one that becomes unhealthy, or ends, or is not healthy in time, is a failure with the "
            "exit code 1; what its last check wrote is said then."
        ),
        least=1,
        most=-1,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Print the exit code or the name of each, a line each, in the order in which they are named."""
    from buildkit_py.cli.each import for_each

    parsed = parse(parser(), argv)
    if parsed.has("healthy"):
        from buildkit_py.api.health import wait_for_health
        from buildkit_py.cli import values

        most = values.seconds(parsed.one("timeout"), "--timeout") if "timeout" in parsed.given else None
        return for_each(parsed.operands, lambda text: wait_for_health(text, seconds=most))
    if "timeout" in parsed.given:
        raise UsageError("`--timeout` says how long to wait for health", hint="add `--healthy`")
    from buildkit_py.api.containers import wait

    return for_each(parsed.operands, wait)
