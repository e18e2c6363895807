"""`--list` and `--dry-run`: what a Buildfile offers, and what a build of it would run."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.request import BuildResult, TargetSummary
    from buildkit_py.cli.options import Parsed


def print_targets(parsed: Parsed) -> int:
    """Print the targets of the Buildfile that a command line names."""
    from buildkit_py.api.build import outline
    from buildkit_py.cli.locate import here, is_remote, locate
    from buildkit_py.errors import UsageError

    file, context = locate(parsed.operands[0], parsed.one("file"), here())
    if is_remote(context):
        raise UsageError("`--list` reads a Buildfile of this machine", hint="check the context out and name it")
    sys.stdout.write(targets_text(outline(file)))
    return 0


def targets_text(targets: tuple[TargetSummary, ...]) -> str:
    """A line a target, the default one marked, with a line below for each parameter."""
    from buildkit_py.report.escape import visible

    width = max((len(visible(target.name)) for target in targets), default=0)
    lines = []
    for target in targets:
        mark = "*" if target.default else " "
        summary = visible(target.description.split("\n", 1)[0])
        lines.append(f"{mark} {visible(target.name).ljust(width)}  {summary}".rstrip())
        for name, kind, default, description in target.parameters:
            option = f"--{name}={kind}" + (f" (default {default})" if default else "")
            lines.append(f"      {visible(option)}  {visible(description)}".rstrip())
    return "".join(line + "\n" for line in lines)


def print_plan(result: BuildResult) -> None:
    """Print what each step of a dry run would do."""
    sys.stdout.write(plan_text(result))


def plan_text(result: BuildResult) -> str:
    """A line a step: what would happen to it, its name, and why."""
    from buildkit_py.report.escape import visible

    lines = []
    for target in result.targets:
        if len(result.targets) > 1:
            lines.append(f"{visible(target.name)}:")
        for name, what, reason in target.plan:
            lines.append(f"{what:<8}{visible(name)}" + (f"  ({visible(reason)})" if reason else ""))
    return "".join(line + "\n" for line in lines)
