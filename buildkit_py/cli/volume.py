"""`pybuild volume ls | rm`: the named volumes of containers."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.store.volumes import Volume


def parser() -> Command:
    """The command's table."""
    return Command(
        "volume",
        "list or remove the named volumes of containers: ls, rm",
        ("pybuild volume ls [-q | --json]", "pybuild volume rm NAME…"),
        (
            Option(("-q", "--quiet"), "ls: names only"),
            Option(("--json",), "ls: print the answer as JSON"),
        ),
        about=(
            "A volume is made by the first `pybuild run -v NAME:/PATH` that names it, and begins with what the image "
            "has at that path. It stays until it is removed here; `pybuild cache prune` leaves it alone."
        ),
        least=1,
        most=-1,
        words=("ls", "rm"),
    )


def main(argv: list[str]) -> int:
    """Do what the first operand says."""
    from buildkit_py.api import volumes

    parsed = parse(parser(), argv)
    word, *names = parsed.operands
    if word == "rm":
        for option in ("quiet", "json"):
            if parsed.has(option):
                raise UsageError(f"`pybuild volume rm` has no `--{option}`")
        if not names:
            raise UsageError("`pybuild volume rm` needs the name of a volume")
        from buildkit_py.cli.each import for_each

        return for_each(names, volumes.remove)
    if names:
        raise UsageError(f"`pybuild volume ls` cannot take `{names[0]}`")
    found = volumes.listed()
    if parsed.has("quiet"):
        sys.stdout.write("".join([volume.name + "\n" for volume in found]))
    else:
        sys.stdout.write(_json(found) if parsed.has("json") else _table(found))
    return 0


def _json(found: Sequence[Volume]) -> str:
    import json

    return json.dumps([dict(zip(one.__fields__, one.values(), strict=True)) for one in found], indent=2) + "\n"


def _table(found: Sequence[Volume]) -> str:
    from time import time

    from buildkit_py.report.table import table
    from buildkit_py.report.units import age, size
    from buildkit_py.store.usage import disk_bytes

    now = time()
    rows = [(one.name, size(disk_bytes(one.path)), age(one.created, now) if one.created else "") for one in found]
    return table(("VOLUME", "ON DISK", "CREATED"), rows, right=(1,))
