"""`pybuild logs`: what the steps of a build wrote, in full."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "logs",
        "print what the steps of a build wrote",
        ("pybuild logs [options] [BUILD [STEP]]",),
        (
            Option(("--raw",), "print the bytes as they were written, terminal escapes and all"),
            Option(("--list",), "list the steps instead"),
        ),
        about=(
            "Without BUILD it is the last one (`pybuild builds` lists them); STEP is the number of a step or a part of "
            "its text. The log of one step is printed alone, several with a heading each."
        ),
        most=2,
    )


def main(argv: list[str]) -> int:
    """Print the logs. Raises `UsageError` for a build or step that is not known."""
    from buildkit_py.api.builds import logs
    from buildkit_py.report.escape import visible

    parsed = parse(parser(), argv)
    id, step = (*parsed.operands, "", "")[:2]
    record, found = logs(id, step)
    if parsed.has("list"):
        for one in record.steps:
            if one.id and one.state:
                sys.stdout.write(f"{one.id:>4}  {one.state:<8}{visible(one.name)}\n")
        return 0
    for one, data in found:
        if len(found) > 1 or not step:
            sys.stdout.write(f"==> {one.id} {visible(one.name)}\n")
        if parsed.has("raw"):
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            continue
        for line in data.decode("utf-8", "replace").splitlines():
            sys.stdout.write(visible(line) + "\n")
    return 0
