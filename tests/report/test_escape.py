"""Escaping: nothing that a terminal obeys gets through."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.report.escape import line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, äöü, 漢字, 🙂", "plain text, äöü, 漢字, 🙂"),
        ("tab\tstays", "tab\tstays"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\a"),
        ("\x1b[2J\x9b2J", "\\x1b[2J\\x9b2J"),
        ("10%\r20%", "10%\\r20%"),
        ("a\nb", "a\\nb"),
        ("a\x08b\x7f\x00", "a\\bb\\x7f\\x00"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\U000e0041", "\\U000e0041"),
        ("byte \udcff", "byte \\xff"),
        ("lone \ud800", "lone \\ud800"),
    ],
)
def test_table(text, shown):
    assert visible(text) == shown


def test_the_return_of_a_crlf_is_no_text():
    assert line("text\r") == "text"
    assert line("a\rb\r") == "a\\rb"


@given(st.text(alphabet=st.characters()))
@pytest.mark.attack("H6")
def test_no_control_character_survives(text):
    for char in visible(text):
        assert char == "\t" or unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(char) not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
