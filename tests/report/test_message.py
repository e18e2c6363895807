"""Messages read without colour and carry nothing dangerous."""

from __future__ import annotations

import io

from buildkit_py.errors import BuildfileError, RegistryError
from buildkit_py.events import Notice
from buildkit_py.report.message import error_text, notice_text
from buildkit_py.source_map import Position


def test_all_parts():
    error = BuildfileError(
        "unknown instruction `FORM`",
        at=Position("Buildfile", 3, 1),
        excerpt="  FORM debian\n  ^^^^",
        notes=("included from `a`", "included from `b`"),
        hint="did you mean `FROM`?",
    )
    assert error_text(error, io.StringIO()) == (
        "error: Buildfile:3:1: unknown instruction `FORM`\n"
        "  FORM debian\n"
        "  ^^^^\n"
        "note: included from `a`\n"
        "note: included from `b`\n"
        "\n"
        "hint: did you mean `FROM`?\n"
    )


def test_what_a_registry_says_is_not_obeyed():
    text = error_text(RegistryError("it said \x1b[2J\x9b", at="http://x/\x07"), io.StringIO())
    assert text == "error: http://x/\\a: it said \\x1b[2J\\x9b\n"


def test_notices():
    assert notice_text(Notice("info", "pulling"), io.StringIO()) == "note: pulling\n"
