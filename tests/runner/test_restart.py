from __future__ import annotations

import signal

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.runner.restart import Restart, parse_restart
from buildkit_py.sandbox.signal_number import signal_number


@pytest.mark.parametrize(
    ("text", "code", "restarts", "wanted"),
    [
        ("no", 1, 0, False),
        ("always", 0, 1000, True),
        ("unless-stopped", 0, 0, True),
        ("on-failure", 0, 0, False),
        ("on-failure", 1, 1000, True),
        ("on-failure:3", 1, 2, True),
        ("on-failure:3", 1, 3, False),
        ("on-failure:0", 1, 3, True),
    ],
)
def test_policies(text: str, code: int, restarts: int, wanted: bool) -> None:
    assert parse_restart(text).wanted(code, restarts) is wanted


@pytest.mark.parametrize("text", ["", "never", "always:1", "on-failure:", "on-failure:-1", "on-failure:٣", "No"])
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(UsageError, match="no restart policy"):
        parse_restart(text)


def test_the_usual_one() -> None:
    assert parse_restart("no") == Restart()


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("sigterm", 15), ("9", 9), ("SIGRTMIN", 34), ("RTMIN+3", 37), ("rtmax-1", 63), ("64", 64)],
)
def test_signals(text: str, number: int) -> None:
    assert signal.SIGRTMIN == 34
    assert signal_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "NOPE", "RTMIN-1", "RTMAX+1", "RTMIN+x", "-1", "٩", "SIGSIGTERM", "1" * 40]
)
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(UsageError, match="is no signal"):
        signal_number(text)
