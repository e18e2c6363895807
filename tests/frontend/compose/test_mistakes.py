"""Compose files with one mistake each, and what is said of it, to the letter: place, message, hint, notes.

Where one differs on purpose: `python -m tests.frontend.compose.test_mistakes`, and read the difference.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from buildkit_py.errors import ComposeError, ContextError
from buildkit_py.frontend.compose.load import load

FILE = Path(__file__).with_name("mistakes.txt")


def cases() -> dict[str, tuple[str, str]]:
    """By name: the compose file, and what is said."""
    found = {}
    for part in FILE.read_text().split("=== ")[1:]:
        name, _, rest = part.partition("\n")
        text, _, said = rest.partition("--- \n")
        found[name] = (text, said)
    return found


def said_of(text: str, directory: Path) -> str:
    (directory / "compose.yaml").write_text(text)
    try:
        load(str(directory), {})
    except (ComposeError, ContextError) as problem:
        lines = [str(problem), *[f"note: {note}" for note in problem.notes]]
        return "\n".join([*lines, *[f"hint: {problem.hint}"] * bool(problem.hint)]) + "\n"
    return "nothing\n"


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_what_is_said(name: str, tmp_path: Path) -> None:
    text, said = CASES[name]
    assert said_of(text, tmp_path) == said


def test_each_says_where() -> None:
    assert len(CASES) > 80
    for name, (_, said) in CASES.items():
        assert re.match(r"compose\.yaml(:\d+:\d+)?: ", said), name


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        parts = [f"=== {name}\n{text}--- \n{said_of(text, Path(scratch))}" for name, (text, _) in CASES.items()]
    FILE.write_text("".join(parts))
