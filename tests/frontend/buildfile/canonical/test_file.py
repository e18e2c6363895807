"""The canonical form: what it looks like, that it is its own, and that it means what the text meant."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.errors import BuildfileSyntaxError
from buildkit_py.frontend.buildfile.canonical.file import canonical, same
from buildkit_py.frontend.buildfile.parse import parse_text
from tests.fuzz.buildfiles import hold_form, lark_once, mutated, seeds
from tests.peers.cases import CASES

PAGE = Path(__file__).resolve().parents[4] / "docs" / "reference" / "canonical-form.md"


def form(text: str | bytes) -> str:
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return canonical(data, "Buildfile").decode("utf-8", "surrogateescape")


def test_the_example_of_the_page() -> None:
    page = PAGE.read_text()
    before, after = (
        re.findall(rf"^```dockerfile {kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
        for kind in ("before", "after")
    )
    assert form(before) == after
    assert form(after) == after


FORMS = [
    # words and spaces
    ("  from  a   as\tb", "FROM a AS b\n"),
    ("FROM a\nCopy --link   a  'b  /c", "FROM a\nCOPY --link a 'b /c\n"),
    ("FROM a\nENV  A='x  y'   B=\"  \" C=a\\ b", "FROM a\nENV A='x  y' B=\"  \" C=a\\ b\n"),
    ("FROM a\nENV  A   some  value ", "FROM a\nENV A some  value\n"),
    ("FROM a\nRUN  --network=none   --   a   b  ", "FROM a\nRUN --network=none -- a   b\n"),
    ("FROM a\nrun [ -f x ]", "FROM a\nRUN [ -f x ]\n"),
    ('FROM a\nCMD ["a","b \\" ,c" ,  "]"  ]', 'FROM a\nCMD ["a", "b \\" ,c", "]"]\n'),
    ("FROM a\nCMD [ ]\nCMD", "FROM a\nCMD []\nCMD\n"),
    ("FROM a\nhealthcheck --retries=2   cmd  a  b", "FROM a\nHEALTHCHECK --retries=2 CMD a  b\n"),
    ("FROM a\nhealthcheck   none", "FROM a\nHEALTHCHECK NONE\n"),
    ("FROM a\nONBUILD   copy   a  b", "FROM a\nONBUILD copy   a  b\n"),
    ("FROM a\nWORKDIR   /a  b  ", "FROM a\nWORKDIR /a  b\n"),
    # comments and blank lines
    ("\n\n# one\n\n\n\n  # two\nFROM a\n\n\nRUN x\n\n", "# one\n\n# two\nFROM a\n\nRUN x\n"),
    ("#\n#a  \nFROM a\n#b", "#\n#a\nFROM a\n#b\n"),
    ("ARG A\nFROM a\nRUN x\n# b c\nFROM a AS b\nFROM b", "ARG A\nFROM a\nRUN x\n\n# b c\nFROM a AS b\n\nFROM b\n"),
    ("FROM a\nRUN x \\\n   #  why\n\n  #   how\n  y", "FROM a\nRUN x \\\n  #  why\n  #   how\n  y\n"),
    ("FROM a\nRUN x; \\\n# why\n\ty; \\\n  # how\n\t\tz", "FROM a\nRUN x; \\\n\t# why\n\ty; \\\n\t\t# how\n\t\tz\n"),
    ("FROM a\nENV A=1 \\\n# why\n  B=2", "FROM a\nENV A=1 \\\n    # why\n    B=2\n"),
    ("FROM a\nRUN x \\\n # last\n\n", "FROM a\nRUN x\n# last\n"),
    # directives
    ("#SYNTAX =  a/b:1 \n# Escape=`\nFROM a\nRUN x `\n y", "# syntax=a/b:1\n# escape=`\nFROM a\nRUN x `\n y\n"),
    ("#!/usr/bin/x\n#check = skip=all\nFROM a", "#!/usr/bin/x\n# check=skip=all\nFROM a\n"),
    ("\n\n# escape=`\nFROM a", "\n# escape=`\nFROM a\n"),
    ("\n# escape=x\nFROM a", "\n# escape=x\nFROM a\n"),
    ("\n\n#!x\n# escape=`\nFROM a", "\n#!x\n# escape=`\nFROM a\n"),
    ("# a\n# escape=`\nFROM a", "# a\n# escape=`\nFROM a\n"),
    # line breaks
    ("FROM a\nENV A=1\\\n  B=2 \\\n\\\n\tC=3", "FROM a\nENV A=1 \\\n    B=2 \\\n    C=3\n"),
    ('FROM a\nENV A="1  \\\n  2"  \\\n  B=3', 'FROM a\nENV A="1  \\\n  2" \\\n    B=3\n'),
    ("FROM a\nRUN --network=none \\\n\\\n  a \\  \n \\\n  b", "FROM a\nRUN --network=none \\\n    a \\\n \\\n  b\n"),
    ('FROM a\nCMD [\\\n"a",\\\n"b"\\\n]', 'FROM a\nCMD [ \\\n    "a", \\\n    "b" \\\n    ]\n'),
    ("FR\\\nom a", "FR\\\nOM a\n"),
    ("\ufeffFROM a\r\nRUN x\r\n", "FROM a\nRUN x\n"),
    # heredocs
    (
        "FROM a\nrun  <<A  cat \\\n # c\n <<-B\n  x\r\n\nA\n\tB\nCMD x",
        "FROM a\nRUN <<A  cat \\\n # c\n <<-B\n  x\r\n\nA\n\tB\nCMD x\n",
    ),
    ("FROM a\nCOPY   <<'A'  <<B  /\n# no comment\nA\n\\\nB", "FROM a\nCOPY <<'A' <<B /\n# no comment\nA\n\\\nB\n"),
    # words of our own
    (
        'FROM a\nIF(  $A  =="x")or not( defined B AND "a" IN\t"a b")\n\n#c\n\nRUN x\n\nelse\nRUN y\n#d\nEND',
        'FROM a\nIF ($A == "x") or not (defined B and "a" in "a b")\n'
        "    #c\n\n    RUN x\nELSE\n    RUN y\n    #d\nEND\n",
    ),
    (
        "function  F\nRUN a\n\nend\nfor  a in  b c\nfrom $a\ndo F  --x=1\nend",
        "FUNCTION F\n    RUN a\nEND\nFOR a IN b c\n    FROM $a\n    DO F --x=1\nEND\n",
    ),
    ("FROM a\nlet A=$( b  c )\noutput a  b", "FROM a\nLET A = $( b  c )\nOUTPUT a b\n"),
    (
        "FROM a\ntest --name=x  y  z\ntag a  b\ninclude ./b  --as c",
        "FROM a\nTEST --name=x y  z\nTAG a b\nINCLUDE ./b --as c\n",
    ),
    (
        "service  DB  from  a   --port=1 \\\n --ready='b  c'\nfrom a\nrun  --with=db   x  y",
        "SERVICE DB FROM a --port=1 \\\n    --ready='b  c'\nFROM a\nRUN --with=db x  y\n",
    ),
    # what hangs on its white space
    ('FROM a\ncopy  ["a\tb",  "c"]', 'FROM a\ncopy  ["a\tb",  "c"]\n'),
    ("FROM a\ncopy  a \u00a0b c", "FROM a\ncopy  a \u00a0b c\n"),
    ("FROM a\nworkdir  a\\\v", "FROM a\nworkdir  a\\\v\n"),
    ("\\\n# c\nfrom  a", "\\\n# c\nfrom  a\n"),
]


@pytest.mark.parametrize(("text", "wanted"), FORMS)
def test_forms(text: str, wanted: str) -> None:
    assert form(text) == wanted
    assert form(form(text)) == form(text)


def test_a_file_that_is_wrong() -> None:
    with pytest.raises(BuildfileSyntaxError, match="Buildfile:2:1: unknown instruction `RNU`"):
        form("FROM a\nRNU x\n")


def test_trees_that_differ() -> None:
    def tree(text: str) -> object:
        return parse_text(text, "Buildfile")

    assert same(tree("FROM a\nRUN x"), tree("from  a\n\n\nrun \\\n x"))
    for other in ("FROM a\nRUN  y", "FROM a\n#c\nRUN x", "# check=skip=all\nFROM a\nRUN x", 'FROM a\nRUN ["x"]'):
        assert not same(tree("FROM a\nRUN x"), tree(other))


@pytest.mark.parametrize("name", CASES)
def test_the_corpus_means_the_same(name: str) -> None:
    """Keys of all stages, configurations, histories, descriptions."""
    case = CASES[name]
    texts = [case.text.lstrip("\n")]
    texts += [node for path, node in case.files.items() if path.endswith("Dockerfile") and isinstance(node, str)]
    for text in texts:
        hold_form(text.encode("utf-8", "surrogateescape"))


def test_most_of_the_corpus_has_a_canonical_form() -> None:
    made = [hold_form(case.text.lstrip("\n").encode("utf-8", "surrogateescape")) for case in CASES.values()]
    assert sum(made) > 0.8 * len(CASES)


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with lark_once():
        yield


SPACES = (
    "\\\n",
    "\\\n\\\n",
    "\\\n  # c\n",
    "\n\n",
    "  ",
    "\t",
    " \\\n",
    "\\\n\n",
    "# x\n",
    "\n# check=skip=all\n",
    "`\n",
)
TEXTS = [text for text in [*seeds(), *(text.encode() for text, _ in FORMS)] if len(text) < 1000]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(TEXTS),
    st.lists(st.tuples(st.integers(0, 1000), st.sampled_from([*SPACES, " \\  \n   ", "\v", "\u00a0"])), max_size=6),
)
def test_white_space_anywhere(data: bytes, spaces: list[tuple[int, str]]) -> None:
    for at, space in spaces:
        at %= len(data) + 1
        data = data[:at] + space.encode() + data[at:]
    hold_form(data)


@settings(max_examples=100, deadline=None)
@given(st.integers())
def test_texts_that_nobody_wrote(seed: int) -> None:
    hold_form(mutated(random.Random(seed), TEXTS))
