"""`pybuild plan`: what a build would run, why, and how long that took the last time; nothing runs."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.request import Planned

# Of `pybuild build`, the options that decide which steps there are and whether they have a result.
_SHARED = frozenset(
    (
        *("file", "target", "build-arg", "build-context", "secret", "no-secret-scan", "label", "platform"),
        *("pull", "no-cache", "no-cache-filter", "network", "add-host", "cache-from", "locked", "offline"),
        "normalize",
    )
)


def parser() -> Command:
    """The command's table."""
    from buildkit_py.cli import build

    shared = tuple(option for option in build.parser().options if option.key in _SHARED)
    return Command(
        "plan",
        "show what a build would run, and why",
        ("pybuild plan [options] FILE [TARGET…] [--parameter=value…]", "pybuild plan [options] CONTEXT"),
        (*shared, Option(("--json",), "print it as JSON")),
        about=(
            "CACHED: the step has its result. RUN: it would run, for the reasons below it. UNKNOWN: a step that it "
            "stands on would run, or it takes files of another stage that is new; if those come out as they were, this "
            "one does not run. The options are those of `pybuild build` that decide what the steps are."
        ),
        examples=(("pybuild plan .", "what `pybuild build .` would do now"),),
        least=1,
        most=-1,
        parameters=True,
        operands="file",
    )


def main(argv: list[str]) -> int:
    """Print the plan; the code is 0 whether or not something would run."""
    from buildkit_py.api.build import build
    from buildkit_py.cli.build_request import build_request
    from buildkit_py.cli.listing import print_plan
    from buildkit_py.cli.locate import here
    from buildkit_py.cli.progress import kind_from, shown

    parsed = parse(parser(), argv)
    request = build_request(parsed, os.environ, here()).replace(dry_run=True)
    result = shown(kind_from(os.environ), lambda emit: build(request, emit))
    if not parsed.has("json"):
        print_plan(result)
        return 0
    import json

    sys.stdout.write(json.dumps([as_json(step) for target in result.targets for step in target.plan], indent=2) + "\n")
    return 0


def as_json(step: Planned) -> dict[str, object]:
    """A step of the plan as JSON has it; its last time is in seconds, null where it is not known."""
    return {
        "step": step.id,
        "name": step.name,
        "verdict": step.verdict,
        "why": list(step.causes),
        "files": list(step.paths),
        "waits_for": list(step.waits_for),
        "last_seconds": step.milliseconds / 1000 if step.milliseconds >= 0 else None,
        "at": step.position,
    }
