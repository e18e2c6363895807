"""Progress of commands: what is kept back, and how failures are told once."""

from __future__ import annotations

import pytest

from buildkit_py.cli.guard import Reported
from buildkit_py.cli.progress import if_busy, kind_from, shown
from buildkit_py.errors import ContextError
from buildkit_py.events import BuildFinished, Notice, StepFinished, StepQueued, StepStarted


def test_nothing_is_shown_of_what_is_cached():
    seen = []
    emit = if_busy(seen.append)
    for event in (StepQueued("a", "a"), StepFinished("a", "CACHED"), BuildFinished(True, 0.1, 0, 1)):
        emit(event)
    assert seen == []


@pytest.mark.parametrize("busy", [StepStarted("b"), Notice("warning", "look")])
def test_everything_is_shown_in_order_once_something_runs(busy):
    events = [StepQueued("a", "a"), StepQueued("b", "b"), StepFinished("a", "CACHED"), busy, StepFinished("b", "DONE")]
    seen = []
    emit = if_busy(seen.append)
    for event in events:
        emit(event)
    assert seen == events


@pytest.mark.parametrize(
    ("value", "kind"), [("plain", "plain"), ("rawjson", "json"), ("tty", "tty"), ("nonsense", "auto"), ("", "auto")]
)
def test_docker_s_variable(value, kind):
    assert kind_from({"BUILDKIT_PROGRESS": value}) == kind
    assert kind_from({}) == "auto"


def test_a_failure_is_told_once(capsys):
    def work(emit):
        raise ContextError("there is no `x`")

    with pytest.raises(Reported) as caught:
        shown("plain", work)
    assert caught.value.code == 4
    assert capsys.readouterr().err == "error: there is no `x`\n"


def test_the_result_comes_back(capsys):
    assert shown("plain", lambda emit: emit(Notice("info", "working")) or 7) == 7
    assert capsys.readouterr().err == "note: working\n"
