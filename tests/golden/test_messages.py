"""What a broken Buildfile is told, to the letter: message, place, source line, hint, exit code.

Where one differs on purpose: `python -m tests.golden.message_cases NAME`, and read the difference.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.golden.message_cases import DIRECTORY, Case, cases, read

CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_message(case: Case, tmp_path: Path) -> None:
    wanted = case.text()
    if sys.version_info < (3, 13):  # Python's own words, which it did not have before
        wanted = re.sub(r"(an unexpected keyword argument '\w+')\. Did you mean '\w+'\?", r"\1", wanted)
    assert case.run(tmp_path).text() == wanted


def test_there_are_enough_of_both_doors() -> None:
    assert len(CASES) >= 100
    assert sum(case.name.startswith("python-") for case in CASES) >= 20


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_says_where_and_ends_with_a_documented_code(case: Case) -> None:
    first = case.said.split("\n", 1)[0]
    assert first.startswith("error: ")
    assert case.code in (2, 3, 4, 7)
    assert "Traceback" not in case.said
    # A place in a file, the file, or what was typed.
    assert re.match(r"error: (\.?\w[\w./]*:|.*`)", first), first


def test_a_case_is_read_as_it_is_written() -> None:
    for path in sorted(DIRECTORY.glob("*.txt")):
        assert read(path).text() == path.read_text()
