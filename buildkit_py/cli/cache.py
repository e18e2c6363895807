"""`pybuild cache du | prune | verify | audit | keygen`: the store, making it smaller, checking it; who made what."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.audit import AuditedLayer
    from buildkit_py.cli.options import Parsed
    from buildkit_py.store.usage import Share

_ONLY = {"all": "prune", "dry-run": "prune", "cache-max": "prune", "by": "du", "keep": "verify", "no-trees": "verify"}
_SHORT = 19  # sha256: and twelve digits, as docker shortens
_STEP = 60
# What stands behind the word, and how it is called.
_TAKES = {"audit": ("an image", "IMAGE"), "keygen": ("the file that the private key is to be in", "FILE")}
_VIEWS = ("kind", "target", "step", "mount", "image")


def parser() -> Command:
    """The command's table."""
    return Command(
        "cache",
        "show, shrink or check the store; who made what is in it",
        (
            "pybuild cache du [--by=VIEW] [--json]",
            "pybuild cache prune [--all | --cache-max=SIZE] [--dry-run] [--json]",
            "pybuild cache verify [--keep] [--no-trees] [--json]",
            "pybuild cache audit IMAGE [--json]",
            "pybuild cache keygen FILE",
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
            "and ends with 5 if there was any. `audit` shows for each layer of an image who made it: the base image, "
            "this machine, or another one whose portable cache it came with, and the key that says so. `keygen` writes "
            "a new private key to sign portable caches with into a file, and prints the public one that others name "
            "whom to trust by."
        ),
        least=1,
        most=2,
        words=("du", "prune", "verify", "audit", "keygen"),
    )


def main(argv: list[str]) -> int:
    """Do what the first operand says."""
    parsed = parse(parser(), argv)
    word = parsed.operands[0]
    for option, owner in _ONLY.items():
        if parsed.one(option, "false") != "false" and word != owner:
            raise UsageError(f"`pybuild cache {word}` has no `--{option}`", hint=f"it belongs to `{owner}`")
    if (word in _TAKES) != (len(parsed.operands) == 2):
        if word in _TAKES:
            what, name = _TAKES[word]
            raise UsageError(f"`pybuild cache {word}` needs {what}", hint=f"write `pybuild cache {word} {name}`")
        raise UsageError(f"`pybuild cache {word}` cannot take `{parsed.operands[1]}`")
    if word == "keygen":
        return _keygen(parsed)
    if word == "audit":
        return _audit(parsed)
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
    if parsed.has("all"):
        raise UsageError("`--cache-max` does not go with `--all`")
    from buildkit_py.cli.values import byte_size

    text = parsed.one("cache-max")
    limit = byte_size(text, "--cache-max") if text != "0" else 0
    return _shares(cache.evict(limit, dry_run=dry).gone, heads, parsed.has("json"))


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


def _audit(parsed: Parsed) -> int:
    from buildkit_py.api.audit import audit

    found = audit(parsed.operands[1])
    if parsed.has("json"):
        layers = [{name: getattr(layer, name) for name in layer.__fields__} for layer in found.layers]
        return _json({"name": found.name, "digest": found.digest, "layers": layers})
    from time import time

    from buildkit_py.public_key import short
    from buildkit_py.report import units
    from buildkit_py.report.table import table

    now = time()
    rows = []
    for layer in found.layers:
        name, _, digest = layer.base.rpartition("@")
        place = f"{name}@{digest[:_SHORT]}" if name else layer.maker
        step = " ".join(layer.step.split())
        step = step if len(step) <= _STEP else step[: _STEP - 1] + "…"
        made = layer.digest[:_SHORT], units.since(layer.created, now), _maker(layer)
        rows.append((*made, short(layer.key), place, step))
    sys.stdout.write(table(("LAYER", "CREATED", "MADE BY", "KEY", "ON", "STEP"), rows))
    return 0


def _maker(layer: AuditedLayer) -> str:
    from buildkit_py.api import audit

    if layer.origin != audit.CACHE:
        return {audit.BASE: "base image", audit.HERE: "this machine", audit.UNKNOWN: "(unknown)"}[layer.origin]
    return {
        audit.RIGHT: layer.trust or "a key that has no name here",
        audit.WRONG: "another: the signature is WRONG",
        audit.UNCHECKED: "another: a secret that is not here",
        audit.MISSING: "another: not signed",
    }[layer.signature]


def _keygen(parsed: Parsed) -> int:
    from buildkit_py.api.keygen import keygen

    if parsed.has("json"):
        raise UsageError("`pybuild cache keygen` has no `--json`")
    sys.stdout.write(keygen(parsed.operands[1]) + "\n")
    return 0


def _json(value: object) -> int:
    import json

    sys.stdout.write(json.dumps(value, indent=2) + "\n")
    return 0
