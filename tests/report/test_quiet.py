"""Quiet progress says nothing but what went wrong."""

from __future__ import annotations

import io

from buildkit_py.events import Notice, ShellOpened
from buildkit_py.report.quiet import QuietReporter
from buildkit_py.report.stream import Stream
from tests.report.scripted import FAILED, GOOD, SHELL, failure


def test_a_good_build_shows_nothing():
    out = io.StringIO()
    reporter = QuietReporter(Stream(out))
    for event in GOOD:
        reporter.emit(event)
    reporter.close()
    assert out.getvalue() == ""


def test_a_failure_shows_its_step():
    out = io.StringIO()
    reporter = QuietReporter(Stream(out))
    for event in FAILED:
        reporter.emit(event)
    reporter.failed(failure())
    assert " > [1/1] RUN false:\nno luck\n" in out.getvalue()
    assert "error: Buildfile:4:1:" in out.getvalue()


def test_a_shell_shows_why_it_opens():
    out = io.StringIO()
    reporter = QuietReporter(Stream(out))
    for event in SHELL:
        reporter.emit(event)
    assert out.getvalue().startswith(
        "------\n > [1/1] RUN false:\nno luck\n------\nerror: `RUN false` ended with exit code 1\nThis shell is"
    )
    assert out.getvalue().count("no luck") == 2
    assert "\nno luck\\x1b[2J again\nerror: `RUN false` ended with exit code 2\n" in out.getvalue()


def test_at_a_shell_somebody_wants_to_know_what_is_waited_for():
    out = io.StringIO()
    reporter = QuietReporter(Stream(out))
    opened = next(event for event in SHELL if isinstance(event, ShellOpened))
    for event in (Notice("info", "before"), opened, Notice("info", "waiting"), SHELL[-3], Notice("info", "after")):
        reporter.emit(event)
    assert out.getvalue().endswith("\nnote: waiting\n")
    assert "before" not in out.getvalue()
