"""`pybuild exec`: a command beside the one that a container runs."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.errors import OutputLost, PybuildError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.containers import Execute
    from buildkit_py.cli.options import Parsed


def parser() -> Command:
    """The command's table."""
    return Command(
        "exec",
        "run a command in a container that runs",
        ("pybuild exec [options] CONTAINER [--] COMMAND [ARGUMENT…]",),
        (
            Option(("-e", "--env"), "set a variable; NAME alone takes its value from here", "NAME=VALUE", many=True),
            Option(("-w", "--workdir"), "the directory to start in", "DIR"),
            Option(("-u", "--user"), "the user to run as, by name or number", "USER[:GROUP]"),
            Option(("-i", "--interactive"), "connect standard input"),
            Option(("-t", "--tty"), "give it a terminal"),
        ),
        about=(
            "It has the container's files, network, variables and rights, and ends with it. The exit code is the "
            "command's, else as of `pybuild run`."
        ),
        examples=(("pybuild exec -it web sh", "a shell in a container"),),
        least=2,
        most=-1,
        stops=True,
        operands="container",
    )


def main(argv: list[str]) -> int:
    """Run it; its exit code, or 125 where it could not be started."""
    from buildkit_py.cli.guard import say
    from buildkit_py.cli.run import NOT_STARTED

    try:
        parsed = parse(parser(), argv)
        wanted = _execute(parsed)
        if wanted.terminal and wanted.interactive and not sys.stdin.isatty():
            raise UsageError("`-it` needs standard input to be a terminal", hint="leave `-t` out")
        from buildkit_py.api.containers import execute

        return execute(parsed.operands[0], wanted)
    except OutputLost as lost:
        return say(lost)
    except PybuildError as error:
        say(error)
        return NOT_STARTED


def _execute(parsed: Parsed) -> Execute:
    from buildkit_py.api.containers import Execute
    from buildkit_py.cli import values

    workdir = parsed.one("workdir")
    if workdir and not workdir.startswith("/"):
        raise UsageError(f"the working directory `{workdir}` is not absolute")
    return Execute(
        command=tuple(parsed.operands[1:]),
        env=values.from_environment(parsed.all("env"), "--env", os.environ),
        workdir=workdir,
        user=parsed.one("user"),
        interactive=parsed.has("interactive"),
        terminal=parsed.has("tty"),
    )
