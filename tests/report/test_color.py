"""When a stream gets colours."""

from __future__ import annotations

import io

import pytest

from buildkit_py.report.color import paint, wanted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "env", "expected"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "0"}, False),
        (io.StringIO(), {"CLICOLOR_FORCE": "1"}, True),
        (Terminal(), {"CLICOLOR": "0"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_wanted(stream, env, expected):
    assert wanted(stream, env) is expected


def test_paint():
    assert paint("x", "error", False) == "x"
    assert paint("x", "error", True) == "\x1b[1;31mx\x1b[0m"
