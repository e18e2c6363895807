"""The pre-pass: continuation lines, comments, blank lines, heredocs, and the map back to the file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.errors import BuildfileSyntaxError
from buildkit_py.frontend.buildfile.lines import MAX_LINE, Source


def cut(text: str | bytes) -> list[tuple[str, int]]:
    """The logical lines and the last physical line of each."""
    return [(line.text, line.line_end) for line in Source(text, "B").lines]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a", [("a", 1)]),
        ("a\n\nb\n", [("a", 1), ("b", 3)]),
        ("a\\\nb", [("ab", 2)]),
        ("a \\ \t\n  b", [("a   b", 2)]),
        ("a\\\r\nb\r\n", [("ab", 2)]),
        ("a\\\\\nb", [("a\\\\", 1), ("b", 2)]),
        ("a\\\\\\\nb", [("a\\\\\\", 1), ("b", 2)]),
        ("a\\", [("a", 1)]),
        ("a\\\n", [("a", 1)]),
        ("\\\na", [("a", 2)]),
        ("a \\\n# no\n  # no\nb", [("a b", 4)]),
        ("a \\\n\n \nb", [("a b", 4)]),
        ("a \\\n#\\\nb", [("a b", 3)]),
        ("a # kept", [("a # kept", 1)]),
        ("# no \\\nb", [("b", 2)]),
        ("  a  ", [("a", 1)]),
        ("\xa0a\u3000", [("a", 1)]),
        ("a\fb\x1cc", [("a\fb\x1cc", 1)]),
        ("a\rb", [("a\rb", 1)]),
        ("# escape=`\na`\nb\\\nc", [("ab\\", 3), ("c", 4)]),
        ("# escape=`\na``\nb", [("a``", 2), ("b", 3)]),
    ],
)
def test_logical_lines(text: str, lines: list[tuple[str, int]]) -> None:
    assert cut(text) == lines


def test_a_byte_order_mark_is_dropped_only_at_the_start() -> None:
    assert cut(b"\xef\xbb\xbfa\nb") == [("a", 1), ("b", 2)]
    assert cut("a\n\ufeffb") == [("a", 1), ("\ufeffb", 2)]


def test_every_offset_has_its_place() -> None:
    line = Source("x\n  abc \\\n# no\n\n\tdé\\\nf", "B").lines[1]
    assert line.text == "abc \tdéf"
    assert [line.place(offset) for offset in (0, 3, 4, 6, 7, 8)] == [(2, 3), (2, 6), (5, 1), (5, 3), (6, 1), (6, 2)]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "bc ", "\\", "\n", "#", " ", "\t", "é"]), max_size=30))
def test_the_map_leads_to_the_same_character(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        source = Source(text, "B")
    except BuildfileSyntaxError:
        return
    rows = text.split("\n")
    for line in source.lines:
        for offset, character in enumerate(line.text):
            row, column = line.place(offset)
            assert rows[row - 1][column - 1] == character


def test_the_longest_line() -> None:
    assert cut("a " + "x" * (MAX_LINE - 2))[0][1] == 1
    assert cut("a " + "é" * ((MAX_LINE - 2) // 2))[0][1] == 1
    for text in ("x" * (MAX_LINE + 1), "a\n" + "é" * (MAX_LINE // 2 + 1), "RUN <<E\n" + "x" * 70000 + "\nE"):
        with pytest.raises(BuildfileSyntaxError, match="longer than 65535"):
            Source(text, "B")


def test_heredocs_are_taken_out() -> None:
    source = Source("COPY <<A <<-'B' /x\r\n # a\\\r\nA\r\n\tb\n\t\tB\nRUN y", "B")
    copy, run = source.lines
    assert [(body.opening.name, body.text, body.first_line) for body in copy.heredocs] == [
        ("A", " # a\\\r\n", 2),
        ("B", "b\n", 4),
    ]
    assert copy.heredocs[1].raw == "\tb\n"
    assert (copy.line_end, run.text, run.place(0)) == (5, "RUN y", (6, 1))


def test_what_is_above_describes() -> None:
    source = Source("# one\n#two \nFROM a\nRUN x\n# three\n\nRUN y\n# check=skip=all\n# four\nRUN z", "B")
    assert [line.doc for line in source.lines] == [("one", "two"), (), (), ("four",)]


def test_a_nul_character_is_refused_where_it_can_mean_nothing() -> None:
    for text, place in (("FROM a\nRUN \\\n x\0y\n", (3, 3)), ("FROM a\0\n", (1, 7))):
        with pytest.raises(BuildfileSyntaxError, match="NUL character") as caught:
            Source(text, "B")
        assert (caught.value.at.line, caught.value.at.column) == place
    assert cut("# \0\nFROM a\nCOPY <<E /\n\0\nE\n") == [("FROM a", 2), ("COPY <<E /", 5)]


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_a_file_of_another_coding_is_told_from_its_mark(coding: str) -> None:
    with pytest.raises(BuildfileSyntaxError, match="the file is UTF-16") as caught:
        Source("\ufeffFROM a\n".encode(coding), "B")
    assert caught.value.hint == "save it as UTF-8"
