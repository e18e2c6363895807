"""JUnit's XML of tests, as CI systems read it: one suite a stage, one case a test."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from buildkit_py.errors import StepFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.request import BuildResult, TestResult


def junit(file: str, result: BuildResult) -> str:
    """The document of a run of the tests of `file`. What XML 1.0 cannot hold (control characters) is left out."""
    stages = dict.fromkeys([test.stage for test in result.tests])
    suites = [_suite(stage, [test for test in result.tests if test.stage == stage]) for stage in stages]
    counts = _counts(result.tests)
    head = f"<testsuites name={_attribute(file)} {counts} time={_attribute(f'{result.seconds:.3f}')}>"
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *suites, "</testsuites>", ""])


def _suite(stage: str, tests: list[TestResult]) -> str:
    seconds = sum(test.seconds for test in tests)
    head = f"  <testsuite name={_attribute(stage)} {_counts(tests)} time={_attribute(f'{seconds:.3f}')}>"
    return "\n".join([head, *[_case(test) for test in tests], "  </testsuite>"])


def _counts(tests: tuple[TestResult, ...] | list[TestResult]) -> str:
    failed = sum(test.state == "FAILED" for test in tests)
    skipped = sum(test.state == "SKIPPED" for test in tests)
    return f'tests="{len(tests)}" failures="{failed}" errors="0" skipped="{skipped}"'


def _case(test: TestResult) -> str:
    file, _, rest = test.position.partition(":")
    line = rest.partition(":")[0].partition(" ")[0]
    place = f" file={_attribute(file)} line={_attribute(line)}" if file and line.isdigit() else ""
    head = f"    <testcase classname={_attribute(test.stage)} name={_attribute(test.name)}{place}"
    head += f" time={_attribute(f'{test.seconds:.3f}')}"
    if test.state == "SKIPPED":
        return f'{head}>\n      <skipped message="something that it stands on failed"/>\n    </testcase>'
    if test.problem is None:
        cached = "\n      <system-out>passed before with the same inputs</system-out>\n    " if test.cached else ""
        return f"{head}>{cached}</testcase>" if cached else f"{head}/>"
    tail = "\n".join(test.problem.tail) if isinstance(test.problem, StepFailed) else ""
    failure = f"      <failure message={_attribute(str(test.problem.message))}>{escape(_plain(tail))}</failure>"
    return f"{head}>\n{failure}\n    </testcase>"


def _attribute(text: str) -> str:
    return quoteattr(_plain(text))


def _plain(text: str) -> str:
    """The text without the characters that XML 1.0 (2.2, Char) does not have."""
    return "".join([ch for ch in text if ch in "\t\n\r" or (ch >= " " and not _is_none(ch))])


def _is_none(ch: str) -> bool:
    return "\ud800" <= ch <= "\udfff" or ch in "\ufffe\uffff"
