"""`pybuild builds`: the builds of the past, newest first."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.build_record import BuildRecord


def parser() -> Command:
    """The command's table."""
    return Command(
        "builds",
        "list the builds, newest first",
        ("pybuild builds [--json]",),
        (Option(("--json",), "print it as JSON"),),
        about=(
            "A build with nothing to do, answered from what the one before it noted, is not listed. `pybuild logs ID` "
            "prints what a build's steps wrote, `pybuild why --build ID` why they ran."
        ),
    )


def main(argv: list[str]) -> int:
    """Print the list."""
    from buildkit_py.api.builds import list_builds

    parsed = parse(parser(), argv)
    builds = list_builds()
    if parsed.has("json"):
        import json

        sys.stdout.write(json.dumps([as_json(build) for build in builds], indent=2) + "\n")
        return 0
    import time

    from buildkit_py.report import units
    from buildkit_py.report.table import table

    now = time.time()
    rows = [
        (
            build.id,
            units.age(build.started, now),
            units.seconds(build.seconds),
            build.state + (", dirty" if build.dirty else ""),
            f"{build.ran}/{len(build.visible)}",
            file_of(build),
            " ".join(name for name, _ in build.targets),
        )
        for build in builds
    ]
    sys.stdout.write(table(("BUILD", "WHEN", "TOOK", "STATE", "RAN", "FILE", "TARGETS"), rows, right=(2, 4)))
    return 0


def file_of(build: BuildRecord) -> str:
    """A build's file from here; "-" for one that came from standard input, or with a context from elsewhere."""
    import os

    if build.file in ("", "-"):
        return "-"
    try:
        return os.path.relpath(build.file)
    except FileNotFoundError:  # the working directory was removed
        return build.file


def as_json(build: BuildRecord) -> dict[str, object]:
    """A build as JSON has it; `started` is in seconds since 1970."""
    return {
        "id": build.id,
        "file": build.file,
        "context": build.context,
        "targets": [name for name, _ in build.targets],
        "started": build.started,
        "seconds": build.seconds,
        "state": build.state,
        "dirty": build.dirty,
        "tool": build.tool,
        "ran": build.ran,
        "steps": [
            {
                "step": step.id,
                "name": step.name,
                "at": step.position,
                "state": step.state,
                "dirty": step.dirty,
                "reason": step.reason,
                "seconds": step.milliseconds / 1000,
            }
            for step in build.visible
        ],
    }
