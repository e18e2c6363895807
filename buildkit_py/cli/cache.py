"""`pybuild cache du | prune | verify`: what the store holds, making it smaller, checking it."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.options import Parsed
    from buildkit_py.store.usage import Share

_ONLY = {"all": "prune", "dry-run": "prune", "cache-max": "prune", "by": "du", "keep": "verify", "no-trees": "verify"}
_VIEWS = ("kind", "target", "step", "mount", "image")


def parser() -> Command:
    """The command's table."""
    return Command(
        "cache",
        "show, shrink or check the store",
        (
            "pybuild cache du [--by=VIEW] [--json]",
            "pybuild cache prune [--all | --cache-max=SIZE] [--dry-run] [--json]",
            "pybuild cache verify [--keep] [--no-trees] [--json]",
        ),
        (
            Option(("--by",), "du: by what the room is told", "VIEW", choices=_VIEWS),
            Option(("-a", "--all"), "prune: images too, and whatever its age"),
            Option(("--cache-max",), "prune: only what is too much, least worth first; 0: the usual limit", "SIZE"),
            Option(("-n", "--dry-run"), "prune: remove nothing, show what would go"),
            Option(("--keep",), "verify: only report what is damaged, do not remove it"),
            Option(("--no-trees",), "verify: do not read the unpacked files of layers, which takes longest"),
            Option(("--json",), "print the answer as JSON"),
        ),
        about=(
            "`du` shows what takes how much of the disk. `prune` removes what no image needs and no build used in the "
            "last seven days; with `--all`, everything that no running build uses; with `--cache-max`, only what is "
            "above that size, first what saves least time for its room, which builds do by themselves, too. What was "
            "removed is made again when it is wanted. `verify` reads everything, takes what is damaged out of use, "
            "and ends with 5 if there was any."
        ),
        least=1,
        most=1,
        words=("du", "prune", "verify"),
    )


def main(argv: list[str]) -> int:
    """Do what the first operand says."""
    parsed = parse(parser(), argv)
    word = parsed.operands[0]
    for option, owner in _ONLY.items():
        if parsed.has(option) and word != owner:
            raise UsageError(f"`pybuild cache {word}` has no `--{option}`", hint=f"it belongs to `{owner}`")
    from buildkit_py.api import cache

    if word == "du":
        if parsed.one("by", "kind") != "kind":
            return _room(parsed.one("by"), parsed.has("json"))
        return _shares(cache.usage(), ("KIND", "COUNT", "ON DISK"), parsed.has("json"))
    if word == "prune":
        return _prune(parsed)
    return _verify(parsed)


def _prune(parsed: Parsed) -> int:
    from buildkit_py.api import cache

    dry = parsed.has("dry-run")
    heads = ("WOULD GO", "COUNT", "ON DISK") if dry else ("REMOVED", "COUNT", "FREED")
    if not parsed.one("cache-max"):
        return _shares(cache.prune(everything=parsed.has("all"), dry_run=dry), heads, parsed.has("json"))
    if dry or parsed.has("all"):
        raise UsageError("`--cache-max` goes neither with `--all` nor with `--dry-run`")
    from buildkit_py.cli.values import byte_size

    text = parsed.one("cache-max")
    return _shares(cache.evict(byte_size(text, "--cache-max") if text != "0" else 0).gone, heads, parsed.has("json"))


def _room(view: str, as_json: bool) -> int:
    from buildkit_py.api.room import room
    from buildkit_py.report import units
    from buildkit_py.report.escape import visible
    from buildkit_py.report.table import table

    places = room(view)
    if as_json:
        return _json([{name: getattr(place, name) for name in place.__fields__} for place in places])
    rows = [
        (
            visible(place.name) or "(unknown)",
            units.size(place.bytes),
            units.size(place.shared) if place.shared else "",
            f"{place.milliseconds / 1000:.1f} s" if place.milliseconds else "",
        )
        for place in places
    ]
    sys.stdout.write(table((view.upper(), "ON DISK", "SHARED", "TOOK"), rows, right=(1, 2, 3)))
    return 0


def _shares(shares: tuple[Share, ...], heads: tuple[str, ...], as_json: bool) -> int:
    from buildkit_py.report import units
    from buildkit_py.report.table import table

    if as_json:
        return _json({share.kind: {"count": share.count, "bytes": share.bytes} for share in shares})
    rows = [(share.kind, str(share.count), units.size(share.bytes)) for share in shares]
    rows.append(("total", "", units.size(sum(share.bytes for share in shares))))
    sys.stdout.write(table(heads, rows, right=(1, 2)))
    return 0


def _verify(parsed: Parsed) -> int:
    from buildkit_py.api.cache import verify
    from buildkit_py.errors import StoreCorrupt
    from buildkit_py.report.escape import visible

    problems = verify(repair=not parsed.has("keep"), trees=not parsed.has("no-trees"))
    if parsed.has("json"):
        _json([{name: getattr(problem, name) for name in problem.__fields__} for problem in problems])
    else:
        sys.stdout.writelines(visible(str(problem)) + "\n" for problem in problems or ("nothing is damaged",))
    return StoreCorrupt.exit_code if problems else 0


def _json(value: object) -> int:
    import json

    sys.stdout.write(json.dumps(value, indent=2) + "\n")
    return 0
