"""Mending: what is edited, that nothing else is, and that what the file means stays."""

from __future__ import annotations

from itertools import islice

import pytest

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.checks.mend import applicable, apply
from buildkit_py.frontend.buildfile.checks.rule import Edit, Finding
from buildkit_py.frontend.buildfile.parse import parse_text
from tests.frontend.buildfile.checks.checking import check, mended
from tests.frontend.buildfile.meaning import meaning
from tests.peers.case import Case
from tests.peers.cases import CASES


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("FROM a as B\n", "FROM a AS b\n"),
        ("From a as b\nRUN x\n", "FROM a AS b\nRUN x\n"),
        ("from a AS b\nrun x\n", "from a as b\nrun x\n"),
        ("FROM a\nRUN x\n# c\n\n  run y   \n", "FROM a\nRUN x\n# c\n\n  RUN y   \n"),
        ("FROM a\nRUN x \\\n\n # c\n  \n  y", "FROM a\nRUN x \\\n # c\n  y"),
        ("FROM a\r\nRUN x \\\r\n\r\n  y\r\n", "FROM a\r\nRUN x \\\r\n  y\r\n"),
        ("\ufeffFROM a as b\n", "\ufeffFROM a AS b\n"),
        ("FROM a\nENV b  c d  \n", 'FROM a\nENV b="c d"  \n'),
        ("FROM a\nENV b $c\nLABEL d.e f\n", "FROM a\nENV b=$c\nLABEL d.e=f\n"),
        ("FROM a\nENV b b\n", "FROM a\nENV b=b\n"),
        # what cannot be rewritten without care stays
        ("FROM a\nENV b c 'd e'\n", "FROM a\nENV b c 'd e'\n"),
        ("FROM a\nENV b c\\ d\n", "FROM a\nENV b c\\ d\n"),
        ("FROM a\nENV b c \\\n  d\n", "FROM a\nENV b c \\\n  d\n"),
        ("FROM --platform=$TARGETPLATFORM a\n", "FROM a\n"),
        ("FROM --platform='$TARGETPLATFORM' a\n", "FROM --platform='$TARGETPLATFORM' a\n"),
        ("FROM a\nEXPOSE 1.2.3.4:80:81/TCP 5/Udp $X\n", "FROM a\nEXPOSE 81/tcp 5/udp $X\n"),
        ("FROM a\nONBUILD run x\nonbuild env b c\n", "FROM a\nONBUILD run x\nONBUILD env b c\n"),
        ("FROM a\nCOPY <<E /\nrun\n\nE\ncopy b /\n", "FROM a\nCOPY <<E /\nrun\n\nE\nCOPY b /\n"),
        ("# check=skip=FromAsCasing\nFROM a as B\n", "# check=skip=FromAsCasing\nFROM a as b\n"),
    ],
)
def test_edits(before: str, after: str) -> None:
    assert mended(before) == after


def test_nothing_is_left_to_mend_once_mended() -> None:
    text = mended("From a as B\nENV x y\nexpose 1:2/TCP\nRUN a \\\n\n b\n")
    assert not any(finding.edits for finding in check(text))


def test_an_edit_is_made_only_where_the_text_is_as_it_expects() -> None:
    node = parse_text("FROM a\n", "B").instructions[0]
    finding = Finding(node, "", node.position, (Edit(1, 1, "from", "FROM"),))
    assert applicable("FROM a\n", (finding,))[0].edits == ()
    assert applicable("from a\n", (finding,))[0].edits
    nowhere = finding.replace(edits=(Edit(2, 1, "x", ""),))
    assert applicable("", (nowhere,))[0].edits == ()


def test_of_two_edits_of_one_place_one_is_made() -> None:
    node = parse_text("FROM a\n", "B").instructions[0]
    both = Finding(node, "", node.position, (Edit(1, 1, "from a", "FROM b"), Edit(1, 6, "a", "c")))
    assert apply("from a\n", (both,)) == "FROM b\n"


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_what_the_corpus_means_stays(case: Case) -> None:
    text = case.text.lstrip("\n")
    try:
        after = mended(text)
    except BuildfileError:
        return  # it does not parse
    assert meaning(after) == meaning(text)


def test_the_corpus_has_something_to_mend() -> None:
    texts = (case.text.lstrip("\n") for case in CASES.values())
    sound = (text for text in texts if isinstance(meaning(text), tuple) and len(meaning(text)) == 4)  # type: ignore[arg-type]
    assert len(list(islice((text for text in sound if mended(text) != text), 6))) == 6
