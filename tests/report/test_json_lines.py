"""JSON progress: a program gets back exactly what happened."""

from __future__ import annotations

import io
import json
from pathlib import Path

import buildkit_py
from buildkit_py import events
from buildkit_py.events import StepOutput
from buildkit_py.report.json_lines import JsonReporter
from buildkit_py.report.stream import Stream
from tests.report.scripted import FAILED, GOOD, SHELL, failure


def objects(script, error=None):
    out = io.StringIO()
    reporter = JsonReporter(Stream(out))
    for event in script:
        reporter.emit(event)
    if error is not None:
        reporter.failed(error)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_object_for_each_event_with_all_its_fields():
    got = objects(GOOD)
    assert len(got) == len(GOOD)
    assert got[0] == {"event": "build-started", "version": 1, "build_id": "b1", "title": "Buildfile", "steps": 3}
    for event, members in zip(GOOD, got, strict=True):
        assert set(event.__fields__) <= set(members)
    assert got[13]["position"] == {"file": "Buildfile", "line": 4, "column": 1, "function": "", "via": []}


def test_text_comes_back_as_the_step_wrote_it_and_is_ascii_on_the_way():
    text = 'a\x1b[2J"\\\u202e\x9b\udcff é'
    out = io.StringIO()
    JsonReporter(Stream(out)).emit(StepOutput("s", 1, text, 0.0))
    assert out.getvalue().isascii()
    assert "\x1b" not in out.getvalue()
    assert json.loads(out.getvalue())["text"] == text


def test_an_error_is_an_object_too():
    last = objects(FAILED, failure())[-1]
    assert last == {
        "event": "error",
        "message": "`RUN false` ended with exit code 1",
        "at": "Buildfile:4:1",
        "excerpt": "  RUN false\n  ^^^",
        "hint": "`--no-cache` does not help",
        "notes": [],
        "exit_code": 1,
        "step_id": "s1",
        "code": 1,
        "tail": ["no luck"],
    }


def test_every_event_and_member_is_documented():
    page = Path(buildkit_py.__file__).parent.parent / "docs/reference/progress-json.md"
    rows = {row.split("|")[1].strip(): row for row in page.read_text().splitlines() if row.startswith("| `")}
    kinds = {type(event) for event in (*GOOD, *FAILED, *SHELL)}
    assert kinds == {
        kind for kind in vars(events).values() if isinstance(kind, type) and kind.__module__ == events.__name__
    }
    for event in (*GOOD, *FAILED, *SHELL):
        (members,) = objects([event])
        row = rows[f"`{members.pop('event')}`"]
        assert [name for name in members if f"`{name}`" not in row] == []
    (members,) = objects([], failure())
    assert [name for name in members if f"`{name}`" not in rows["`error`"] and name != "event"] == []
