"""The case of the parser alone: a Buildfile of a thousand lines, as it was and changed since."""

from __future__ import annotations

from bench import fixtures
from bench.race import race
from bench.verdict import Report, at_most, under
from bench.workbench import Workbench

_LINES = 1000
_PARSE = "from buildkit_py.frontend.buildfile.parse import parse_file; parse_file('Dockerfile', cache_dir='kept')"


def parse(bench: Workbench) -> Report:
    """A parse after the first of a text that is as it was, and of one of which a line changed."""
    contenders = []
    for name in ("as it was", "a line changed"):
        directory = bench.directory(f"parse-{name.replace(' ', '-')}")

        def edit(number: int, directory: str = directory, changes: bool = name != "as it was") -> None:
            fixtures.write(f"{directory}/Dockerfile", fixtures.lines(_LINES, number if changes else 0))

        contenders.append(bench.other(name, (bench.interpreter, "-c", _PARSE), cwd=directory, prepare=edit))
    contenders.append(bench.other("python -c pass", (bench.interpreter, "-c", "pass"), cwd=bench.root))
    samples = race(contenders, bench.rounds(31), warm_up=2)
    return Report(
        "parse",
        f"parse a Buildfile of {_LINES} lines, again",
        samples,
        (
            at_most("as it was", "python -c pass", 3),
            under("as it was", 0.06),
            at_most("a line changed", "python -c pass", 8),
        ),
        ["the interpreter's start is in all of them; a text as it was comes from its kept tree"],
    )
