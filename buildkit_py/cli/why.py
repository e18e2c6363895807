"""`pybuild why`: why each step of a build ran, in a line a reason."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.why import Explained, Why

_VERBS = {"DONE": "ran", "FAILED": "failed after", "CACHED": "cached", "SKIPPED": "did not run"}


def parser() -> Command:
    """The command's table."""
    return Command(
        "why",
        "show why the steps of a build ran",
        ("pybuild why [options] [[FILE:]TARGET][@STEP]",),
        (
            Option(("-f", "--file"), "the Buildfile (default: the one of this directory)", "FILE", completes="file"),
            Option(("--build",), "look at an older build instead of the last one", "ID"),
            Option(
                ("--against",),
                "compare with the builds of another store, of another machine",
                "DIR",
                completes="directory",
            ),
            Option(("--json",), "print it as JSON"),
        ),
        about=(
            "Each step that ran is compared with the newest earlier build in which it had a result. STEP is the number "
            "of a step or a part of its text; with it, the step is told of whether or not it ran. What `pybuild "
            "build` would do now, `pybuild plan` tells."
        ),
        examples=(
            ("pybuild why", "why the last build here ran what it ran"),
            ("pybuild why 'web@apt-get'", "the step of the target `web` that has apt-get in it"),
        ),
        most=1,
    )


def main(argv: list[str]) -> int:
    """Print the reasons. Raises `UsageError` for a build, target or step that is not known."""
    from buildkit_py.api.why import why
    from buildkit_py.cli.locate import here, is_remote, locate
    from buildkit_py.errors import UsageError

    parsed = parse(parser(), argv)
    asked = parsed.operands[0] if parsed.operands else ""
    named, _, step = asked.partition("@")
    file, colon, target = named.rpartition(":")
    if not colon and _is_file(named):
        file, target = named, ""
    build = parsed.one("build")
    # A build that is named says itself what it was made of.
    found, remote = ("", "") if build and not file else locate(file or ".", parsed.one("file"), here())
    if remote and is_remote(remote):
        raise UsageError("a build of a context from elsewhere is named by its id", hint="--build, and `pybuild builds`")
    answer = why(found, target, step, build=build, against=parsed.one("against"))
    if parsed.has("json"):
        import json

        sys.stdout.write(json.dumps(as_json(answer), indent=2) + "\n")
    else:
        sys.stdout.write(text(answer))
    return 0


def _is_file(name: str) -> bool:
    import os

    return bool(name) and os.path.isfile(name)


def text(answer: Why) -> str:
    """The build, and below it each step that ran with its reasons."""
    import time

    from buildkit_py.cli.builds import file_of
    from buildkit_py.report import color, units
    from buildkit_py.report.escape import visible

    on = color.wanted(sys.stdout)
    build = answer.build
    what = file_of(build) + (f":{answer.target}" if answer.target else "")
    lines = [
        f"{visible(what)}, build {build.id}, {units.age(build.started, time.time())}: "
        f"{build.ran} of {answer.steps} steps ran"
    ]
    for one in answer.ran:
        lines += ["", color.paint(visible(one.step.name), "note", on) + _took(one)]
        lines += [f"    {visible(cause.text)}" for cause in one.causes]
    return "".join(line + "\n" for line in lines)


def _took(one: Explained) -> str:
    from buildkit_py.report import units

    verb = ("dirty, " if one.step.dirty else "") + _VERBS.get(one.step.state, "")
    took = units.seconds(one.step.milliseconds / 1000) if one.step.state in ("DONE", "FAILED") else ""
    at = f"  {one.step.position}" if one.step.position else ""
    return f"  ({' '.join(part for part in (verb, took) if part)}){at}"


def as_json(answer: Why) -> dict[str, object]:
    """The answer as JSON has it."""
    return {
        "build": answer.build.id,
        "file": answer.build.file,
        "target": answer.target,
        "state": answer.build.state,
        "steps": answer.steps,
        "ran": [
            {
                "step": one.step.id,
                "name": one.step.name,
                "at": one.step.position,
                "state": one.step.state,
                "dirty": one.step.dirty,
                "seconds": one.step.milliseconds / 1000,
                "compared_with": one.compared_with or None,
                "why": [{"kind": cause.kind, "text": cause.text, "files": list(cause.paths)} for cause in one.causes],
            }
            for one in answer.ran
        ],
    }
