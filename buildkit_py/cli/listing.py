"""`--list` and `--dry-run`: what a Buildfile offers, and what a build of it would run."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.request import BuildResult, Planned, TargetSummary
    from buildkit_py.cli.options import Parsed


_WORTH_TELLING = 50  # milliseconds: below that it says 0.0s


def print_targets(parsed: Parsed) -> int:
    """Print the targets of the Buildfile that a command line names."""
    from buildkit_py.api.build import outline
    from buildkit_py.cli.locate import here, is_remote, locate
    from buildkit_py.errors import UsageError

    file, context = locate(parsed.operands[0], parsed.one("file"), here())
    if is_remote(context):
        raise UsageError("`--list` reads a Buildfile of this machine", hint="check the context out and name it")
    sys.stdout.write(targets_text(outline(file), python=file.endswith(".py")))
    return 0


def targets_text(targets: tuple[TargetSummary, ...], *, python: bool) -> str:
    """A line a target, the default one marked, with a line below for each parameter, as it is given.

    One with the name of an option of the command can be given as a build arg only.
    """
    from buildkit_py.cli.build import parser
    from buildkit_py.report.escape import visible

    taken = {option.key for option in parser().options}
    width = max((len(visible(target.name)) for target in targets), default=0)
    lines = []
    for target in targets:
        mark = "*" if target.default else " "
        summary = visible(target.description.split("\n", 1)[0])
        lines.append(f"{mark} {visible(target.name).ljust(width)}  {summary}".rstrip())
        for name, kind, default, description in target.parameters:
            spelled = name.replace("_", "-") if python else name
            option = f"--build-arg {name}={kind}" if spelled in taken else f"--{spelled}={kind}"
            option += f" (default {default})" if default else ""
            lines.append(f"      {visible(option)}  {visible(description)}".rstrip())
    return "".join(line + "\n" for line in lines)


def print_plan(result: BuildResult) -> None:
    """Print what each step of a dry run would do."""
    for target in result.targets:
        sys.stdout.write(plan_text(target.plan))


def plan_text(steps: tuple[Planned, ...]) -> str:
    """A line a step: what would happen to it, its name, and how long it took; below it why, a line a reason."""
    from buildkit_py.report import units
    from buildkit_py.report.escape import visible

    lines = []
    for step in steps:
        last = ""
        if step.milliseconds >= _WORTH_TELLING:
            last = f"  ({units.seconds(step.milliseconds / 1000)} the last time)"
        lines.append(f"{step.verdict:<8}{visible(step.name)}{last}")
        reasons = list(step.causes)
        if step.verdict == "UNKNOWN" and step.paths and not reasons:
            reasons.append(f"hangs on {', '.join(step.paths[:3])}")
        lines += [f"        {visible(reason)}" for reason in reasons]
    lines.append(_sum(steps))
    return "".join(line + "\n" for line in lines)


def _sum(steps: tuple[Planned, ...]) -> str:
    from buildkit_py.report import units

    sure = [step for step in steps if step.verdict == "RUN"]
    perhaps = [step for step in steps if step.verdict == "UNKNOWN"]
    if not sure and not perhaps:
        return f"all {len(steps)} steps are cached"
    text = f"{len(sure)} of {len(steps)} steps would run"
    if perhaps:
        text += f", and {len(perhaps)} more unless those come out as they were"
    known = sum(step.milliseconds for step in (*sure, *perhaps) if step.milliseconds >= 0)
    return text + (f"; {units.seconds(known / 1000)} the last time" if known >= _WORTH_TELLING else "")
