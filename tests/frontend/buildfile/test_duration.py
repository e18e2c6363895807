"""Go's durations."""

from __future__ import annotations

import pytest

from buildkit_py.frontend.buildfile.duration import parse_duration

S = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("5s", 5 * S),
        ("+5s", 5 * S),
        ("-5s", -5 * S),
        ("1h2m3s", 3723 * S),
        ("1.5h", 5400 * S),
        (".5s", S // 2),
        ("5.s", 5 * S),
        ("1ns", 1),
        ("1us", 1000),
        ("1µs", 1000),
        ("1μs", 1000),
        ("10ms", 10_000_000),
        ("1m1m", 120 * S),
        ("2540400h10m10s", (2540400 * 3600 + 610) * S),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "-", "5", "s", ".s", "1.2.3s", "1d", "5 s", "1s1", "3000000h", "9223372037s", "٣s"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="`"):
        parse_duration(text)
