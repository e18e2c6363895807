"""`pybuild verify`: builds twice in surroundings that differ, and tells which steps came out otherwise, by file."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.verify import Verdict, Verified

# What the command ends with where a step differs, as docs/reference/exit-codes.md has it.
NOT_REPRODUCIBLE = 9
# Of `pybuild build`, the options that decide which steps there are and how they run.
_SHARED = frozenset(
    (
        *("file", "target", "build-arg", "build-context", "secret", "no-secret-scan", "ssh", "allow", "label"),
        *("platform", "pull", "no-cache", "no-cache-filter", "cache-from", "network", "add-host", "jobs"),
        *("compression", "progress", "locked", "offline", "normalize"),
    )
)


def parser() -> Command:
    """The command's table."""
    from buildkit_py.api.elsewhere import KINDS
    from buildkit_py.cli import build

    shared = tuple(option for option in build.parser().options if option.key in _SHARED)
    return Command(
        "verify",
        "build twice in surroundings that differ, and tell which steps do",
        ("pybuild verify [options] [FILE] [TARGET…] [--parameter=value…]",),
        (
            *shared,
            Option(("--same",), "leave something as it is in the first build", "WHAT", many=True, choices=KINDS),
            Option(
                ("--scratch",),
                "where the second build's store is made (default: in the store)",
                "DIR",
                completes="directory",
            ),
            Option(("--json",), "print it as JSON"),
        ),
        about=(
            "The first build is an ordinary one and takes what the cache has, unless --no-cache; the second one has a "
            "store of its own, which is removed. It runs later, on a copy of the context in another directory, with "
            "one processor, another umask and, where the filesystem and the user allow, other owners and another order "
            "of names in directories; what was varied is told. Times count as in images made with --reproducible. "
            "Nothing is named, pushed or written. FILE is a Buildfile or a directory, by default this one; a first "
            "operand that is no path is a TARGET. The exit code is 9 where a step differs."
        ),
        examples=(
            ("pybuild verify", "is what this directory builds reproducible?"),
            ("pybuild verify --same=processors", "is it the number of processors?"),
        ),
        least=0,
        most=-1,
        parameters=True,
        operands="file",
    )


def main(argv: list[str]) -> int:
    """Print the verdicts; the code is 0 where nothing differs."""
    from buildkit_py.api.verify import verify
    from buildkit_py.cli.build_request import build_request
    from buildkit_py.cli.locate import here, with_file
    from buildkit_py.cli.progress import kind_of, shown

    cwd = here()
    parsed = with_file(parse(parser(), argv), cwd)
    request = build_request(parsed, os.environ, cwd)
    kind = kind_of(parsed)
    scratch = parsed.one("scratch")
    found = verify(
        request,
        lambda work: shown(kind, work),
        same=parsed.all("same"),
        scratch=os.path.join(cwd, scratch) if scratch else "",
    )
    sys.stdout.write(_json(found) if parsed.has("json") else _text(found))
    return 0 if found.is_reproducible else NOT_REPRODUCIBLE


def _json(found: Verified) -> str:
    import json

    value = {
        "reproducible": found.is_reproducible,
        "build": found.builds[0],
        "varied": [{"what": one.what, "done": one.done, "how": one.how} for one in found.varied],
        "steps": [
            {
                "step": one.step.id,
                "name": one.step.name,
                "at": one.step.position,
                "verdict": one.state,
                "files": [{"path": path or None, "how": how} for path, how in one.unlike.files],
                "more": one.unlike.more,
            }
            for one in found.steps
        ],
        "images": [{"target": name, "first": one, "second": two} for name, one, two in found.images],
    }
    return json.dumps(value, indent=2) + "\n"


def _text(found: Verified) -> str:
    from buildkit_py.report.escape import visible

    lines = [f"{'varied' if one.done else 'alike':<8}{one.what}: {one.how}" for one in found.varied]
    for one in found.steps:
        lines.append(
            f"{one.state:<8}{visible(one.step.name)}" + (f"  {one.step.position}" if one.step.position else "")
        )
        lines += [f"        {visible(line)}" for line in _file_lines(one)]
    for name, one_digest, two in found.images:
        if one_digest and one_digest == two:
            lines.append(f"{'SAME':<8}image of {visible(name)}: {one_digest}")
        elif one_digest:
            lines.append(f"{'DIFFERS':<8}image of {visible(name)}: {one_digest}, then {two}")
    return "\n".join([*lines, _summary(found)]) + "\n"


def _file_lines(one: Verdict) -> list[str]:
    lines = [f"{path}  {how}" if path else how for path, how in one.unlike.files]
    return [*lines, "and more"] if one.unlike.more else lines


def _summary(found: Verified) -> str:
    from buildkit_py.api.verify import AFTER, DIFFERS

    count = len(found.steps)
    if found.is_reproducible:
        return f"reproducible: {count} step{'' if count == 1 else 's'} gave the same twice"
    differ, after = (sum(one.state == state for one in found.steps) for state in (DIFFERS, AFTER))
    if not differ:
        return "not reproducible: every step gave the same, and the images differ"
    rest = f", and {after} more that stand{'s' if after == 1 else ''} on what differs" if after else ""
    return f"not reproducible: {differ} of {count} steps differ{'s' if differ == 1 else ''}{rest}"
