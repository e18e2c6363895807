"""`pybuild stats`: what containers use of the machine."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.stats import Stats

_HEADS = ("CONTAINER", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS")
_UNKNOWN = "-"
# To the upper left corner, and all below is gone.
_HOME, _BELOW, _REST_OF_LINE = "\x1b[H", "\x1b[J", "\x1b[K"
_CLEAR = "\x1b[2J"


def parser() -> Command:
    """The command's table."""
    return Command(
        "stats",
        "show what containers use of the machine",
        ("pybuild stats [options] [CONTAINER…]",),
        (
            Option(("--no-stream",), "show it once and end"),
            Option(("--json",), "an object a line, in bytes, null for what is not known"),
        ),
        about=(
            "All that run, or those named, each second: a table on a terminal, else a line each. The percentage is of "
            "one processor. `-` is what cannot be known."
        ),
        examples=(("pybuild stats --no-stream", "once"), ("pybuild stats --json web | jq .memory", "for programs")),
        most=-1,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Show it until Ctrl-C, or once."""
    from buildkit_py.api.stats import stats

    parsed = parse(parser(), argv)
    once, json = parsed.has("no-stream"), parsed.has("json")
    live = not once and not json and sys.stdout.isatty()
    headed = False
    for found in stats(tuple(parsed.operands)):
        if json:
            sys.stdout.write("".join([_object(one) for one in found]))
        elif live:
            sys.stdout.write(("" if headed else _CLEAR) + _HOME + _screen(found) + _BELOW)
        else:
            text = _table(found)
            sys.stdout.write(text.partition("\n")[2] if headed else text)
        headed = True
        sys.stdout.flush()
        if once:
            break
    return 0


def _screen(found: list[Stats]) -> str:
    """The table in the place of the last one, as far as the terminal has lines for it."""
    import os

    try:
        room = max(2, os.get_terminal_size(sys.stdout.fileno()).lines - 1)
    except OSError:
        room = len(found) + 1
    return "".join([line + _REST_OF_LINE + "\n" for line in _table(found).splitlines()[:room]])


def _table(found: list[Stats]) -> str:
    from buildkit_py.report.table import table

    return table(_HEADS, [_row(one) for one in found], (2, 4, 7))


def _row(one: Stats) -> tuple[str, ...]:
    usage = one.usage
    share = 100 * usage.memory / usage.limit if usage.memory is not None and usage.limit else None
    return (
        one.id[:12],
        one.name,
        _percent(one.percent),
        f"{_size(usage.memory)} / {_size(usage.limit or None)}",
        _percent(share),
        f"{_size(usage.received)} / {_size(usage.sent)}",
        f"{_size(usage.read)} / {_size(usage.written)}",
        _UNKNOWN if usage.pids is None else str(usage.pids),
    )


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.2f}%"


def _size(count: int | None) -> str:
    from buildkit_py.report.units import size

    return _UNKNOWN if count is None else size(count)


def _object(one: Stats) -> str:
    import json
    from time import time

    usage = one.usage
    value = {
        "time": time(),
        "id": one.id,
        "name": one.name,
        "cpu_percent": one.percent,
        "memory": usage.memory,
        "memory_limit": usage.limit,
        "net_received": usage.received,
        "net_sent": usage.sent,
        "block_read": usage.read,
        "block_written": usage.written,
        "pids": usage.pids,
    }
    return json.dumps(value) + "\n"
