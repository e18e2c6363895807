"""JUnit's XML: what a reader gets of each kind of result, whatever is in its texts."""

from __future__ import annotations

from xml.etree import ElementTree

from buildkit_py.api.request import BuildResult
from buildkit_py.api.request import TestResult as Outcome
from buildkit_py.errors import StepFailed
from buildkit_py.report.junit import junit

RESULTS = (
    Outcome("unit", "app", "PASSED", seconds=1.25, position="Buildfile:3:1"),
    Outcome("cached", "app", "PASSED", cached=True),
    Outcome(
        'a <b> & "c"',
        "app",
        "FAILED",
        seconds=0.5,
        problem=StepFailed("ended with \x1b[1m exit code 3", tail=("a\x00b <x>", "é 𝔘 \udc80")),
        position="lib/Buildfile:3 in f(), from Buildfile:9:1",
    ),
    Outcome("skipped", "web", "SKIPPED"),
)


def test_the_document() -> None:
    root = ElementTree.fromstring(junit("Buildfile", BuildResult((), 2.0, 3, 1, RESULTS)).encode())
    assert root.attrib == {
        "name": "Buildfile",
        "tests": "4",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
        "time": "2.000",
    }
    assert [(suite.get("name"), suite.get("tests"), suite.get("time")) for suite in root] == [
        ("app", "3", "1.750"),
        ("web", "1", "0.000"),
    ]
    passed, cached, failed = root[0]
    assert passed.attrib == {
        "classname": "app",
        "name": "unit",
        "file": "Buildfile",
        "line": "3",
        "time": "1.250",
    }
    assert list(passed) == []
    assert cached.findtext("system-out") == "passed before with the same inputs"
    assert (failed.get("name"), failed.get("file"), failed.get("line")) == ('a <b> & "c"', "lib/Buildfile", "3")
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("message") == "ended with [1m exit code 3"
    assert failure.text == "ab <x>\né 𝔘 "
    assert root[1][0].find("skipped") is not None


def test_no_tests() -> None:
    root = ElementTree.fromstring(junit("B", BuildResult((), 0.0, 0, 0)))
    assert (root.get("tests"), list(root)) == ("0", [])
