"""The syntax file for editors: it is written from the grammar, and says of a text what the grammar says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit_py.cli.editor_syntax import Words, syntax, text
from buildkit_py.errors import PybuildError
from buildkit_py.frontend.buildfile import grammar
from buildkit_py.frontend.buildfile.canonical.atoms import LOWER, UPPER
from buildkit_py.frontend.buildfile.lines import Source
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.buildfile.reader import USAGE
from buildkit_py.frontend.buildfile.tables import Token
from tests.cli.textmate import Painter
from tests.fuzz.buildfiles import OWN_WORDS
from tests.peers.cases import CASES

FILE = Path(__file__).resolve().parents[2] / "docs" / "editors" / "buildfile.tmLanguage.json"
PAINTER = Painter(json.loads(FILE.read_text()))
WORDS = Words()
INSTRUCTION, BLOCK = "keyword.other.instruction", "keyword.control"


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text() == text(), (
        "run: python -m buildkit_py.cli.editor_syntax > docs/editors/buildfile.tmLanguage.json"
    )
    assert json.loads(text()) == syntax()


def test_every_keyword_of_the_grammar_has_its_rule() -> None:
    words = WORDS
    assert set(words.lines) == set(USAGE) | {"ELIF", "ELSE", "END"}
    assert words.blocks == {"FUNCTION", "FOR", "IF", "ELIF", "ELSE", "END"}
    assert set(words.lines["FROM"]) == {"AS"}
    assert set(words.lines["HEALTHCHECK"]) == {"NONE", "HEALTH_CMD"}
    assert set(words.lines["IF"]) == set(words.lines["ELIF"]) == {"NOT", "COMPARISON", "DEFINED", "_AND", "_OR"}
    inner = {word for found in words.lines.values() for word in found}
    assert set(words.patterns) == set(words.lines) | inner


def test_fmt_knows_the_case_of_every_keyword() -> None:
    assert set(WORDS.patterns) - {"AS_FLAG"} == UPPER | LOWER


def scopes(source: str, row: int, column: int) -> list[str]:
    return PAINTER.paint(source)[row - 1][column - 1]


def agree(source: str) -> int:
    """Hold the scopes of a text against its terminals; how many keywords there were."""
    read = Source(source, "B")
    seen: list[Token] = []
    grammar.tables(read.escape).parse("".join(line.text + "\n" for line in read.lines), seen)
    painted = PAINTER.paint(source)
    begins: set[tuple[int, int]] = set()
    bodies: set[int] = set()
    count = 0
    for number, line in enumerate(read.lines, 1):
        tokens = [token for token in seen if token.line == number and token.type != "_NL"]
        bodies |= {row for body in line.heredocs for row in range(body.first_line, line.line_end + 1)}
        for index, token in enumerate(tokens):
            row, column = line.place(token.column - 1)
            shown = [name for name in painted[row - 1][column - 1] if not name.startswith("meta.")]
            if index == 0:
                kind = BLOCK if token.type in WORDS.blocks else INSTRUCTION
                assert shown == [f"{kind}.{token.type.lower()}.buildfile"]
                begins.add((row, column))
                count += 1
            elif token.type in WORDS.patterns and tokens[0].type != "ONBUILD" and "\\" not in line.text:
                assert shown, token
                assert shown[-1].startswith(("keyword.other.word", "keyword.operator.word")), (token, shown)
            elif token.type == "FLAG" and tokens[0].type not in ("DO", "ONBUILD") and len(line.rows) == 1:
                assert shown[-1:] == ["variable.parameter.flag.buildfile"], (token, shown)
    for row, line_scopes in enumerate(painted, 1):
        for column, shown in enumerate(line_scopes, 1):
            first = any(name.startswith((f"{INSTRUCTION}.", f"{BLOCK}.")) and "trigger" not in name for name in shown)
            inside = column > 1 and line_scopes[column - 2] == shown
            assert not first or inside or (row, column) in begins, (row, column, shown)
            in_body = any(name.startswith("string.unquoted.heredoc") for name in shown)
            if row in bodies:
                assert in_body or column == len(line_scopes), (row, column, shown)
    return count


# No back reference puts together a delimiter that is quoted in part (docs/editors/README.md).
IN_PART = ('<<E"O"F', "<<EOF")
TEXTS = {name: case.text.lstrip("\n\ufeff").replace(*IN_PART) for name, case in CASES.items()} | {
    text[:30]: text for text in OWN_WORDS
}
ODD = (
    "# syntax=x\n# escape=`\nFROM a\nRUN x `\n  # c\n\n  run y\nCMD z\\\nENV A=1\n",
    "FROM a\nRUN x \\\n# c\n\n\\\n  cmd y && \\  \n  user z\nCMD q\\\\\nUSER x\n",
    "FROM a\nRUN echo \"a \\\n  cmd b\" 'c \\\n run d' it\\'s \"\nRUN y\n",
    "FROM a\nRUN <<A cat <<-'B'\nRUN x\nA\nRUN y\n\tB\nCMD z\nCOPY <<\"x.y\" /\nUSER\nx.y\nUSER z\n",
    "FROM a\nRUN echo <<< x $((1 << 3)) << \nRUN x\n",
    "FROM as AS b\nHEALTHCHECK --interval=1s CMD cmd none\nhealthcheck none\nONBUILD copy --from=x a b\n",
)


# What the page of the syntax file says that it does not see.
UNSEEN = {
    *("heredocs of one name", "heredoc of a name with spaces", "heredocs with carriage returns"),
    *("heredoc named as a path", "heredoc named as a path upwards", "heredoc named as a directory"),
    *("heredoc named as a path to a file", "heredoc named as a path from the root"),
    "heredoc of a script named as a path",
}


def test_what_is_not_seen_is_there() -> None:
    assert set(TEXTS) >= UNSEEN


@pytest.mark.parametrize("name", sorted(set(TEXTS) - UNSEEN))
def test_scopes_are_those_of_the_terminals(name: str) -> None:
    try:
        parse_text(TEXTS[name], "B")
    except PybuildError:
        return
    assert agree(TEXTS[name])


@pytest.mark.parametrize("source", ODD)
def test_what_is_hard_to_tell_line_by_line(source: str) -> None:
    assert agree(source)


def test_what_else_is_told() -> None:
    source = "# syntax=docker/dockerfile:1\n# a comment\nFROM a:$TAG AS b\nRUN echo \"${X:-y}\" '$Z'\n"
    assert scopes(source, 1, 3)[-1] == "keyword.other.directive.buildfile"
    assert scopes(source, 2, 3) == ["comment.line.number-sign.buildfile"]
    assert scopes(source, 3, 8) == ["meta.from.buildfile", "variable.other.buildfile"]
    assert scopes(source, 3, 13) == ["meta.from.buildfile", "keyword.operator.word.buildfile"]
    assert scopes(source, 4, 12)[-2:] == ["string.quoted.double.buildfile", "variable.other.buildfile"]
    assert scopes(source, 4, 22)[-1] == "string.quoted.single.buildfile"
