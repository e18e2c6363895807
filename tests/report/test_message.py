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


def test_the_source_line_is_shown_where_the_error_brings_none(tmp_path, monkeypatch):
    (tmp_path / "Buildfile").write_text("FROM scratch\n\tRUN false \x1b[2J\n")
    monkeypatch.chdir(tmp_path)
    text = error_text(BuildfileError("it failed", at=Position("Buildfile", 2, 2)), io.StringIO())
    assert text == "error: Buildfile:2:2: it failed\n  \tRUN false \\x1b[2J\n  \t^^^\n"


def test_a_place_that_is_gone_shows_nothing(tmp_path):
    (tmp_path / "f").write_text("one\n")
    for at in (
        Position(f"{tmp_path}/gone", 1),
        Position(f"{tmp_path}/f", 9),
        f"{tmp_path}/f",
        Position(str(tmp_path), 1),
    ):
        assert error_text(BuildfileError("it failed", at=at), io.StringIO()) == f"error: {at}: it failed\n"
