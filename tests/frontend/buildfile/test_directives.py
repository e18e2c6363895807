"""Parser directives: which lines are some, and where the search ends."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.frontend.buildfile.directives import DirectiveProblem, Directives, split


def feed(text: str) -> Directives:
    """The directives after all lines while they are searched for."""
    directives = Directives()
    for number, line in enumerate(text.split("\n"), 1):
        if directives.searching:
            directives.feed(line, number)
    return directives


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# escape=`", {"escape": "`"}),
        ("#escape=\\", {"escape": "\\"}),
        ("  #  ESCAPE  =  `  ", {"escape": "`"}),
        ("# syntax=a/b:1 more\n# escape=`", {"syntax": "a/b:1 more", "escape": "`"}),
        ("# check=skip=A,B;error=true", {"check": "skip=A,B;error=true"}),
        ("# check=experimental=all", {"check": "experimental=all"}),
        ("\n# escape=`", {}),
        ("# comment\n# escape=`", {}),
        ("# unknown=x\n# escape=`", {}),
        ("FROM a\n# escape=`", {}),
        ("# escape=", {}),
        ("#!/usr/bin/env pybuild\n# syntax=x", {"syntax": "x"}),
        ("# syntax=x\n#!no\n# escape=`", {"syntax": "x"}),
    ],
)
def test_found(text: str, found: dict[str, str]) -> None:
    assert feed(text).found == found


def test_the_escape_character() -> None:
    assert feed("# escape=`").escape == "`"
    assert feed("# syntax=x").escape == "\\"
    assert feed("#!/usr/bin/pybuild\n# escape=`").escape == "\\"


@pytest.mark.parametrize(
    ("text", "column", "width"),
    [
        (" # escape=ab", 11, 2),
        ("# escape=`\n#Escape=`", 2, 6),
        ("# check=skip=A;errors=1", 16, 6),
        ("# check=error=yes", 9, 9),
        ("# check=x", 9, 1),
    ],
)
def test_wrong(text: str, column: int, width: int) -> None:
    with pytest.raises(DirectiveProblem) as caught:
        feed(text)
    assert (caught.value.column, caught.value.width) == (column, width)


@given(st.text(alphabet=" \t=#aZ9é\r\x0b\u2003_-", max_size=12), st.sampled_from(["", "\n"]))
def test_a_comment_is_split_as_an_expression_would(text: str, end: str) -> None:
    comment = f"#{text}{end}"
    match = re.match(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$", comment)
    wanted = (match[1], match.start(1), match[2], match.start(2)) if match else None
    assert split(comment) == wanted
