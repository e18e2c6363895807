"""Kept expressions match what `re` would match, are used only where they belong, and damage costs only time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.frontend.buildfile import grammar
from buildkit_py.frontend.buildfile.expressions import Expressions

_TEXTS = (
    "FROM a AS b\n",
    " from --platform=x a\n",
    "RUN --mount=type=cache,target=/x echo 'a b' \"c\" \\n\n",
    'CMD ["a", "b"]\n',
    "ENV A=1 B='2 3' c=\\ d\n",
    "IF (a == b and not defined X)\n",
    "é\u2003x\n",
    "\n",
    "",
)


def test_they_match_what_the_package_matches(tmp_path: Path) -> None:
    patterns = set(grammar.tables("\\").patterns.values())
    assert len(patterns) > 20
    first = Expressions(str(tmp_path), "g")
    for pattern in patterns:
        first.compiled(pattern)
    first.keep()
    second = Expressions(str(tmp_path), "g")
    for pattern in patterns:
        theirs = re.compile(pattern)
        for ours in (first.compiled(pattern), second.compiled(pattern)):
            assert (ours.flags, ours.groups, ours.groupindex) == (theirs.flags, theirs.groups, theirs.groupindex)
            for text in _TEXTS:
                for at in range(len(text) + 1):
                    found, wanted = ours.match(text, at), theirs.match(text, at)
                    assert (found and (found.span(), found.lastgroup, found.groupdict())) == (
                        wanted and (wanted.span(), wanted.lastgroup, wanted.groupdict())
                    )


def test_what_was_kept_needs_no_compiler(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from buildkit_py.frontend.buildfile.parse import parse_text\n"
        f"parse_text(('FROM a\\nRUN ' + sys.argv[1]).encode(), 'B', cache_dir={str(tmp_path)!r})\n"
        "print('re' in sys.modules)\n"
    )
    env = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    seen = [
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{program}", word],
            check=True,
            env=env,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for word in ("first", "second")
    ]
    assert seen == ["True", "False"]


@pytest.mark.parametrize("damage", [b"", b"junk", "cut", "flip"])
def test_damage_is_not_believed(tmp_path: Path, damage: bytes | str) -> None:
    whole = Expressions(str(tmp_path), "g")
    whole.compiled("(?P<A>a+)|(?P<B>b)")
    whole.keep()
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    flipped = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
    path.write_bytes({"cut": data[:-5], "flip": flipped}.get(damage, damage) if isinstance(damage, str) else damage)
    again = Expressions(str(tmp_path), "g")
    found = again.compiled("(?P<A>a+)|(?P<B>b)").match("aab")
    assert found is not None
    assert (found.group(), found.lastgroup) == ("aa", "A")
    again.keep()
    assert path.read_bytes() == data


def test_another_grammar_has_its_own(tmp_path: Path) -> None:
    for name in ("g", "h", "g"):
        one = Expressions(str(tmp_path), name)
        one.compiled(name)
        one.keep()
    assert len(list(tmp_path.iterdir())) == 2


def test_without_a_directory_nothing_is_kept(tmp_path: Path) -> None:
    one = Expressions()
    assert one.compiled("a").match("a")
    one.keep()
    (tmp_path / "file").write_text("")
    nowhere = Expressions(str(tmp_path / "file" / "in"), "g")
    assert nowhere.compiled("a").match("a")
    nowhere.keep()
    assert (tmp_path / "file").read_text() == ""
