"""`pybuild shell`: a shell where a step of a build runs."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.errors import UsageError

# Of `pybuild build`, the options that decide what the step is and what it gets.
_SHARED = frozenset(
    (
        *("file", "build-arg", "build-context", "secret", "ssh", "allow", "platform", "network"),
        *("normalize", "add-host", "offline"),
    )
)


def parser() -> Command:
    """The command's table."""
    from buildkit_py.cli import build

    shared = tuple(option for option in build.parser().options if option.key in _SHARED)
    return Command(
        "shell",
        "open a shell where a step of a build runs",
        ("pybuild shell [options] [[FILE:]TARGET][@STEP] [--] [COMMAND [ARGUMENT…]]",),
        (
            *shared,
            Option(("--before",), "with the files before the step, also where it failed"),
            Option(("--after",), "with what the step wrote, if it went well"),
        ),
        about=(
            "The shell has the files that the step finds, or those that it left if it failed of late, and its "
            "variables, user, network, mounts and services. STEP is its number in plain progress or a part of its "
            "text; without one it is the step that failed in the last build. What is written is dropped at the end, "
            "but for what goes into cache mounts. Where the image has no /bin/sh, this machine's busybox is brought "
            "in. With a COMMAND, that runs in place of a shell; the exit code is its own."
        ),
        examples=(
            ("pybuild shell", "where the last build failed, in the files as the step left them"),
            ("pybuild shell --before", "the same, in the files before the step"),
            ("pybuild shell 'web@npm ci'", "before the step of the target `web` that has `npm ci` in it"),
        ),
        most=-1,
        stops=True,
    )


def main(argv: list[str]) -> int:
    """Open it; the exit code is the shell's."""
    from buildkit_py.api.request import WantedTarget
    from buildkit_py.api.shell import AFTER, AS_LEFT, BEFORE, ShellRequest, prepare
    from buildkit_py.cli.build_request import build_request
    from buildkit_py.cli.locate import here
    from buildkit_py.cli.progress import at_terminal, if_busy, shown

    parsed = parse(parser(), argv)
    if parsed.has("before") and parsed.has("after"):
        raise UsageError("`--before` and `--after` are two different states", hint="give one of them")
    asked = parsed.operands.pop(0) if parsed.operands and not parsed.behind else ""
    command = tuple(parsed.operands)
    named, _, step = asked.partition("@")
    file, colon, target = named.rpartition(":")
    if not colon and named and os.path.exists(named):
        file, target = named, ""
    terminal = at_terminal()
    if not command and not terminal:
        raise UsageError("a shell needs a terminal", hint="give a command: pybuild shell TARGET@STEP -- COMMAND")
    parsed.operands[:] = [file or "."]
    request = build_request(parsed, os.environ, here()).replace(targets=(WantedTarget(target),) if target else ())
    files = BEFORE if parsed.has("before") else AFTER if parsed.has("after") else AS_LEFT
    wanted = ShellRequest(step, command, files, terminal=terminal)
    shell = shown("auto", lambda emit: prepare(request, wanted, if_busy(emit)))
    if shell.note:
        from buildkit_py.report.escape import visible

        sys.stderr.write(visible(shell.note) + "\n")
        sys.stderr.flush()
    return shell.run()
