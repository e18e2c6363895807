"""`pybuild test`: runs the tests of a Buildfile's targets, and says what became of each."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.options import Command, Option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.request import BuildResult, TestResult

# Of `pybuild build`, the options that decide which steps there are and how they run.
_SHARED = frozenset(
    (
        *("file", "build-arg", "build-context", "secret", "no-secret-scan", "ssh", "allow", "platform"),
        *("pull", "no-cache", "network", "no-cache-filter", "add-host", "jobs", "progress", "locked"),
        *("offline", "cache-from", "normalize"),
    )
)
_SHOWN = {"PASSED": "PASS", "FAILED": "FAIL", "SKIPPED": "SKIP"}


def parser() -> Command:
    """The command's table."""
    from buildkit_py.cli import build

    shared = tuple(option for option in build.parser().options if option.key in _SHARED)
    return Command(
        "test",
        "run the tests of a Buildfile's targets",
        ("pybuild test [options] [FILE] [TARGET…] [--parameter=value…]",),
        (*shared, Option(("--junit",), "write what became of them as JUnit's XML", "FILE", completes="file")),
        about=(
            "The tests of a target are the TESTs of its stage and of all stages that it is made of; in a Buildfile.py, "
            "the checks that go on from it. Without a TARGET all tests of the file run. FILE is a Buildfile or a "
            "directory, by default this one; a first operand that is no path is a TARGET. A pass is remembered for "
            "the same inputs, a failure never. Progress is written to standard error, the summary to standard output; "
            "the exit code is 1 where a test failed or could not run."
        ),
        examples=(
            ("pybuild test", "run all tests of this directory's Buildfile"),
            ("pybuild test . web --junit=report.xml", "those of the target `web`, with a report for CI"),
        ),
        least=0,
        most=-1,
        parameters=True,
        operands="file",
    )


def main(argv: list[str]) -> int:
    """Run the tests; the code is 0 where all of them pass."""
    from buildkit_py.api.build import build
    from buildkit_py.cli.build_request import build_request
    from buildkit_py.cli.locate import here, with_file
    from buildkit_py.cli.progress import kind_of, shown

    cwd = here()
    parsed = with_file(parse(parser(), argv), cwd)
    request = build_request(parsed, os.environ, cwd).replace(test=True, keep_going=True)
    kind = kind_of(parsed)
    result = shown(kind, lambda emit: build(request, emit))
    _tell(result, quiet=kind == "json")
    if parsed.one("junit"):
        from buildkit_py.exporter.sink import Sink
        from buildkit_py.report.junit import junit

        with Sink(os.path.join(cwd, parsed.one("junit"))) as sink:
            sink.write(junit(os.path.relpath(request.file) if request.file else request.remote, result).encode())
    return 0 if not result.failures and all(test.state == "PASSED" for test in result.tests) else 1


def _tell(result: BuildResult, *, quiet: bool) -> None:
    """Show what failed and why on standard error (not where its lines are JSON), the summary on standard output."""
    from buildkit_py.report.message import error_text

    problems = [*result.failures, *[test.problem for test in result.tests if test.problem is not None]]
    for problem in problems if not quiet else ():
        sys.stderr.write(error_text(problem, sys.stderr))
    sys.stderr.flush()
    sys.stdout.write(summary(result))


def summary(result: BuildResult) -> str:
    """A line a test, and how many passed."""
    from buildkit_py.report import units
    from buildkit_py.report.escape import visible

    if not result.tests:
        return "there are no tests\n"
    lines = []
    width = max(len(_named(test)) for test in result.tests)
    for test in result.tests:
        took = "cached" if test.cached else units.seconds(test.seconds) if test.state != "SKIPPED" else "did not run"
        lines.append(f"{_SHOWN[test.state]}  {visible(_named(test)):<{width}}  {took}")
    counts = [(sum(test.state == state for test in result.tests), state) for state in _SHOWN]
    words = {"PASSED": "passed", "FAILED": "failed", "SKIPPED": "did not run"}
    told = ", ".join(f"{count} {words[state]}" for count, state in counts if count)
    cached = sum(test.cached for test in result.tests)
    lines.append(f"{told} in {units.seconds(result.seconds)}" + (f" ({cached} cached)" if cached else ""))
    return "\n".join(lines) + "\n"


def _named(test: TestResult) -> str:
    return f"{test.stage}: {test.name}"
