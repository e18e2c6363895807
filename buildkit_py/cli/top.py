"""`pybuild top`: the processes of a container."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.runner.process import Process


def parser() -> Command:
    """The command's table."""
    return Command(
        "top",
        "list the processes of a container",
        ("pybuild top CONTAINER [OPTIONS OF PS…]",),
        about=(
            "Numbers are those of this machine. With options its ps(1) says what they ask for, about the processes of "
            "the container; the column PID has to be among it where ps knows no `-q`."
        ),
        examples=(("pybuild top web -o pid,rss,cmd", "other columns"),),
        least=1,
        most=-1,
        stops=True,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Print them."""
    parsed = parse(parser(), argv)
    name, *options = parsed.operands
    if options:
        from buildkit_py.api.top import ps

        sys.stdout.write(ps(name, options))
        return 0
    from time import time

    from buildkit_py.api.top import top
    from buildkit_py.report.table import table

    now = time()
    heads = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
    sys.stdout.write(table(heads, [_row(process, now) for process in top(name)], (1, 2, 3)))
    return 0


def _row(process: Process, now: float) -> tuple[str, ...]:
    """As `ps -f` has it (ps(1), STANDARD FORMAT SPECIFIERS)."""
    alive = max(now - process.started, 0.01)
    return (
        _user(process.uid),
        str(process.pid),
        str(process.parent),
        str(min(int(process.cpu * 100 / alive), 99)),
        _start(process.started, now),
        process.terminal,
        _duration(int(process.cpu)),
        process.command,
    )


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _start(started: float, now: float) -> str:
    from time import localtime, strftime

    then, today = localtime(started), localtime(now)
    if then[:3] == today[:3]:
        return strftime("%H:%M", then)
    return strftime("%b%d" if then[0] == today[0] else "%Y", then)


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    days, hours = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
