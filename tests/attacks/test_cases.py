"""The index holds: every attack is tried by a test, through each of its doors, and no mark names another one."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from tests.attacks.cases import BOTH, BUILD, CASES

TESTS = Path(__file__).parents[1]


class Marked(NamedTuple):
    """A test, the numbers of the attacks that it tries, and by which doors."""

    test: str
    numbers: tuple[str, ...]
    doors: tuple[str, ...]


def marked(path: Path) -> list[Marked]:
    """The marked tests of a file."""
    text = path.read_text()
    if "mark.attack(" not in text:
        return []
    out = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.attack":
                given = {argument.arg for argument in node.args.args}
                doors = BOTH if given & {"door", "box"} else BUILD
                for keyword in mark.keywords:
                    assert keyword.arg == "by", f"{path}:{node.lineno}: a mark has `by` and nothing else"
                    by = ast.literal_eval(keyword.value)
                    doors = {"run": ("run",), "build": BUILD, "both": BOTH}[by]
                numbers = tuple(ast.literal_eval(argument) for argument in mark.args)
                out.append(Marked(f"{path.relative_to(TESTS)}::{node.name}", numbers, doors))
    return out


def every_mark() -> list[Marked]:
    return [one for path in sorted(TESTS.rglob("test_*.py")) for one in marked(path)]


def test_every_attack_is_tried_through_each_of_its_doors() -> None:
    tried = {(number, door) for one in every_mark() for number in one.numbers for door in one.doors}
    missing = [f"{number} by {door}" for number, case in CASES.items() for door in case.doors]
    missing = [text for text in missing if tuple(text.split(" by ")) not in tried]
    assert missing == []


def test_marks_name_attacks_that_there_are() -> None:
    unknown = [(one.test, number) for one in every_mark() for number in one.numbers if number not in CASES]
    assert unknown == []
    assert len(CASES) == 88
