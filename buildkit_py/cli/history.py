"""`pybuild history`: how an image came to be, an instruction a line, newest first."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse


def parser() -> Command:
    """The command's table."""
    return Command(
        "history",
        "show how an image came to be, newest first",
        ("pybuild history [options] IMAGE",),
        (
            Option(("--json",), "print all of it as JSON"),
            Option(("--no-trunc",), "show instructions in full"),
        ),
        least=1,
        most=1,
        operands="image",
    )


def main(argv: list[str]) -> int:
    """Print the history."""
    from buildkit_py.api.images import history

    parsed = parse(parser(), argv)
    entries = history(parsed.operands[0])
    if parsed.has("json"):
        import json

        sys.stdout.write(json.dumps(list(entries), indent=2) + "\n")
        return 0
    from time import time

    from buildkit_py.report import units
    from buildkit_py.report.table import table

    now = time()
    rows = []
    for entry in entries:
        text = " ".join(entry["created_by"].split())
        if len(text) > 60 and not parsed.has("no-trunc"):
            text = text[:59] + "…"
        rows.append((units.since(entry["created"], now), units.size(entry["size"]), text))
    sys.stdout.write(table(("CREATED", "SIZE", "INSTRUCTION"), rows, right=(1,)))
    return 0
