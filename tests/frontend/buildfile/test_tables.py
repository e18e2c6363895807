"""The interpreter of the tables against Lark itself: the same tree of every text, and none where Lark has none."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import lark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.frontend.buildfile import grammar, tables
from buildkit_py.frontend.buildfile.tables import Tables, Token, Tree

_TEXTS = (
    "FROM a\n",
    "from --platform=linux/amd64 a as b\n",
    'FROM a AS b\nRUN\nRUN ["a", "b"]\nRUN [ -f x ]\nCMD\n',
    "ARG A\nFROM $A\nARG B=1 C='x y' D\nENV a=1 b=\"2 3\" c=\\\\ d\nENV old value here\n",
    'FROM a\nCOPY --from=b --chown=1:1 x y z/\nADD ["a b", "c"]\nCOPY -- a b\n',
    "FROM a\nHEALTHCHECK NONE\nHEALTHCHECK --interval=1s CMD true\nONBUILD RUN x\nONBUILD COPY a b\n",
    'FROM a\n  EXPOSE 80 443/udp\n\tVOLUME /a /b\nVOLUME ["/c"]\nUSER a:b\nWORKDIR /x y\nSTOPSIGNAL 9\n',
    'FROM a\nSHELL ["sh"]\nLABEL a=b c="d\nMAINTAINER me <me@x>\nENTRYPOINT ["a"]\n',
    "INCLUDE a --as b\nFUNCTION f\nARG A=1\nEND\nFROM a\nDO f --A=2\nTEST --name=x y\nTAG a b\nOUTPUT a b\n",
    "IF (a==b or not defined X) and $c in 'd'\nELIF a matches b\nELSE\nFOR v IN 1 '2 3'\nLET x = $(a)\nEND\nEND\n",
    "IF a == b\n",
    "END\n",
    "FOR x IN a\nELSE\nEND\n",
    "FUNCTION f\nFUNCTION g\nEND\nEND\n",
    "",
    "FROM\n",
    "FRO a\n",
    "FROM a b c\n",
    "FROM a AS 1b\n",
    "FROM a\nCOPY a\n",
    "FROM a\nENV a\n",
    "FROM a\nONBUILD FROM b\n",
    "FROM a\nSHELL sh\n",
    "FROM a",
)
_WORDS = (
    *("FROM", "RUN", "run", "COPY", "ADD", "ENV", "LABEL", "ARG", "CMD", "HEALTHCHECK", "ONBUILD", "VOLUME", "SHELL"),
    *("AS", "NONE", "EXPOSE", "USER", "a", "b=c", "a='x", '"', "\\", "`", "--x=y", "--", "[", '["a"]', '["a", "b"]'),
    *("IF ", "ELIF ", "ELSE\n", "END\n", "FOR ", "IN", "DO ", "LET ", "a == b", "not ", "and ", "(", ")", "$(x)"),
    *(" ", " ", " ", "\t", "\n", "\n", "\n\n", "\v", "$A", "ö", "="),
)


@functools.cache
def _both(escape: str) -> tuple[lark.Lark, Tables]:
    """Lark's parser and our tables: those that come with the grammar, or such as are made of it."""
    made = grammar.parser(escape)
    return made, _packaged() if escape == "\\" else tables.extract(made)


def _packaged() -> Tables:
    found = tables.undump(Path(grammar.TABLES).read_bytes(), grammar.source().decode())
    assert found is not None, (
        "the grammar has other tables than come with it; write them anew: "
        "python -c 'from buildkit_py.frontend.buildfile import grammar; "
        'open(grammar.TABLES, "wb").write(grammar.ship())\''
    )
    return found


def _plain(node: Any) -> Any:
    if isinstance(node, Tree | lark.Tree):
        return str(node.data), [_plain(child) for child in node.children]
    assert isinstance(node, Token | lark.Token)
    return node.type, str(node), node.line, node.column


def _by_lark(made: lark.Lark, text: str) -> Any:
    try:
        return _plain(made.parse(text))
    except lark.exceptions.UnexpectedInput:
        return None


def _compare(escape: str, text: str) -> None:
    made, ours = _both(escape)
    tree = ours.parse(text)
    assert (_plain(tree) if tree is not None else None) == _by_lark(made, text)


@pytest.mark.parametrize("escape", ["\\", "`"])
@pytest.mark.parametrize("text", _TEXTS)
def test_examples(text: str, escape: str) -> None:
    _compare(escape, text)


def test_the_examples_are_not_all_refused() -> None:
    assert sum(_both("\\")[1].parse(text) is not None for text in _TEXTS) == 10


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=30).map("".join), st.sampled_from("\\`"))
def test_any_text(text: str, escape: str) -> None:
    _compare(escape, "FROM a\n" + text + "\n")


def test_kept_tables_are_the_same(tmp_path: Path) -> None:
    ours = _both("\\")[1]
    path = tables.path_of(str(tmp_path), "grammar")
    tables.save(ours, path, "grammar")
    kept = tables.load(path, "grammar")
    assert kept is not None
    assert {**vars(kept), "expressions": ""} == {**vars(ours), "expressions": ""}
    assert tables.load(path, "another grammar") is None


def test_lark_is_not_loaded_for_a_text_that_the_packaged_ones_take() -> None:
    program = (
        "import sys; from buildkit_py.frontend.buildfile.parse import parse_text; "
        "parse_text(b'FROM a\\n', 'x'); print('lark' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_damaged_ones_count_as_absent(tmp_path: Path, damage: bytes | None) -> None:
    path = tables.path_of(str(tmp_path), "grammar")
    assert tables.load(path, "grammar") is None
    tables.save(_both("\\")[1], path, "grammar")
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:-1] + b"?" if damage is None else damage)
    assert tables.load(path, "grammar") is None


def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    tables.save(_both("\\")[1], str(tmp_path / "none" / "tables"), "grammar")
    assert not list(tmp_path.iterdir())
