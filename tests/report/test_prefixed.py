"""Lines of several services: their prefixes, colours, and what a terminal would obey."""

from __future__ import annotations

import io

import pytest

from buildkit_py.report.prefixed import Prefixed


def test_prefixes_are_of_one_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stream = io.StringIO()
    prefixed = Prefixed(["a", "long-name"])
    prefixed.write("a", "one\r", stream)
    prefixed.write("long-name", "two\x1b[2J", stream)
    prefixed.write("a-new-one-that-is-longer", "three", stream)
    assert stream.getvalue() == "a         | one\nlong-name | two\\x1b[2J\na-new-one-that-is-longer | three\n"


def test_each_has_a_colour_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    names = [f"s{number}" for number in range(10)]
    stream = io.StringIO()
    for name in names:
        Prefixed(names).write(name, "x", stream)
    starts = {line.partition("m")[0] for line in stream.getvalue().splitlines()}
    assert len(starts) == 10
    assert "\x1b[0m x\n" in stream.getvalue()
