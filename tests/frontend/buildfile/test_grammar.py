"""The grammar file: it is where the package looks, and both escape characters make a parser."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import lark
import pytest

from buildkit_py.frontend.buildfile import flags, grammar, reader


def test_the_file_is_the_package_s() -> None:
    assert (files("buildkit_py") / "grammar" / "buildfile.lark").read_bytes() == grammar.source()


def test_every_instruction_of_the_grammar_is_documented_and_flagged() -> None:
    keywords = {str(rule.origin.name).upper() for rule in grammar.parser("\\").rules} & set(reader.USAGE)
    assert keywords == set(reader.USAGE)
    assert set(flags.FLAGS) | flags.UNREAD <= set(reader.USAGE)


def test_the_reference_names_every_instruction_and_every_flag() -> None:
    pages = Path(__file__).parents[3] / "docs" / "reference"
    text = "".join((pages / name).read_text() for name in ("buildfile.md", "own-words.md"))
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n### ")[1:]}
    assert set(reader.USAGE) <= set(sections)
    for keyword, known in flags.FLAGS.items():
        for flag in known:
            assert f"[--{flag}" in sections[keyword], f"{keyword} --{flag}"


def test_only_the_block_of_escapes_changes() -> None:
    text = grammar.source().decode()
    other = grammar.for_escape(text, "`")
    changed = [line for line, new in zip(text.split("\n"), other.split("\n"), strict=True) if line != new]
    assert len(changed) == 9
    assert all("ESCAPED" in line or "BARE" in line or "INSIDE" in line for line in changed)
    assert grammar.for_escape(text, "\\") == text


@pytest.mark.parametrize("escape", ["\\", "`"])
def test_pieces_of_words(escape: str) -> None:
    parser = grammar.parser(escape)
    tree = parser.parse(f'ENV a={escape}" b="{escape}" c" d=\'{escape}\' e={escape} f\n')
    (env,) = tree.children
    assert isinstance(env, lark.Tree)
    assert [str(token) for token in env.children[1:]] == [
        f'a={escape}"',
        f'b="{escape}" c"',
        f"d='{escape}'",
        f"e={escape} f",
    ]
