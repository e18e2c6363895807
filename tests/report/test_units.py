"""Quantities in words."""

from __future__ import annotations

import pytest

from buildkit_py.report.units import age, seconds, since, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1234, "1.23kB"),
        (999_600, "1MB"),
        (77_800_000, "77.8MB"),
        (1_230_000_000, "1.23GB"),
    ],
)
def test_size(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.04, "0.0s"), (12.34, "12.3s"), (59.96, "1m 0s"), (184, "3m 4s"), (7500, "2h 5m")]
)
def test_seconds(value, text):
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("past", "text"),
    [
        (0, "0 seconds ago"),
        (1, "1 second ago"),
        (300, "5 minutes ago"),
        (7200, "2 hours ago"),
        (3 * 86400, "3 days ago"),
        (800 * 86400, "2 years ago"),
        (-5, "0 seconds ago"),
    ],
)
def test_age(past, text):
    assert age(1000.0, 1000.0 + past) == text


def test_since():
    assert since("1970-01-01T00:00:00Z", 300.0) == "5 minutes ago"
    assert since("1970-01-01T00:00:00.123456789Z", 300.0) == "4 minutes ago"
    assert since("", 0.0) == "-"
