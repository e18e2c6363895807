"""Ignore rules: tables worked out by hand from the rules, and a naive matcher as oracle."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import buildkit_py.patterns
from buildkit_py import wildcards
from buildkit_py.patterns import IgnoreRules, read_ignore

IGNORED = [
    # patterns, path, is it ignored
    (["a"], "a", True),
    (["a"], "a/b/c", True),
    (["a"], "b/a", False),
    (["a"], "ab", False),
    (["*.pyc"], "a.pyc", True),
    (["*.pyc"], "x/a.pyc", False),
    (["*/*.pyc"], "x/a.pyc", True),
    (["**/*.pyc"], "a.pyc", True),
    (["**/*.pyc"], "x/y/a.pyc", True),
    (["node_modules"], "web/node_modules", False),
    (["**/node_modules"], "web/node_modules/x/y.js", True),
    (["docs/"], "docs", True),
    (["docs/"], "docs/x", True),
    (["./a"], "a", True),
    (["a/../b"], "b", True),
    (["a/../b"], "a", False),
    ([" a "], "a", True),
    (["a/**"], "a", False),
    (["a/**"], "a/b", True),
    (["a/**/c"], "a/c", True),
    (["a/**/c"], "a/b/b/c", True),
    (["a/**/c"], "a/bc", False),
    (["**"], "anything/at/all", True),
    (["**/**"], "a", True),
    (["*"], ".hidden", True),
    (["?"], "a", True),
    (["?"], "ab", False),
    (["a?c"], "a/c", False),
    (["[a-c]x"], "bx", True),
    (["[a-c]x"], "dx", False),
    (["[^a-c]x"], "dx", True),
    (["[^a-c]x"], "ax", False),
    (["a[^x]b"], "a/b", True),  # a class may be a slash, as in Go
    ([r"\*"], "*", True),
    ([r"\*"], "a", False),
    ([r"\d"], "d", True),
    ([r"a/\*\*"], "a/**", True),
    ([r"a/\*\*"], "a/b", False),
    ([r"\*\*/b"], "a/b", False),
    (["[*]"], "*", True),
    ([".git", "**/.git"], "sub/.git/config", True),
    (["*", "!src"], "src/a.c", False),
    (["*", "!src"], "other", True),
    (["*", "!src", "src/b"], "src/b", True),
    (["sub", "!sub/s"], "sub/s", False),
    (["sub", "!sub/s"], "sub/t", True),
    (["!a", "a"], "a", True),
    (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),
    (["*.md", "!README*.md", "README-secret.md"], "README.md", False),
    (["**", "!a/**/z"], "a/b/z", False),
    (["**", "!a/**/z"], "a/b/y", True),
    (["."], "a", False),
    (["a**b"], "ab", True),
    (["a**b"], "a/x/b", True),
    (["a**b"], "axb", False),
    (["a**"], "abc/d", True),
    (["**foo"], "x/afoo", True),  # moby compares ends here
    (["**foo*"], "x/afoo", False),
    (["**foo*"], "x/foot", True),
    (["a.b"], "axb", False),
    (["(a|b)"], "(a|b)", True),
    (["a^b*"], "a^bc", True),
    (["/"], "a", False),
    (["../a"], "a", False),
    (["ä*"], "äöü", True),
    (["?"], "ä", True),
    (["a*c"], "a\nc", True),
]


@pytest.mark.parametrize(("patterns", "path", "ignored"), IGNORED)
def test_ignored(patterns: list[str], path: str, ignored: bool) -> None:
    assert IgnoreRules(patterns).ignored(path) is ignored


def test_no_patterns_ignore_nothing() -> None:
    rules = IgnoreRules([])
    assert not rules.ignored("a/b")
    assert rules.top.settled
    assert not rules.may_reinclude("a")


def test_the_context_itself_stays() -> None:
    assert not IgnoreRules(["**", "*"]).ignored("")


def test_a_rule_that_changes_nothing_is_not_remembered_for_what_is_below() -> None:
    # BuildKit walks: at `src` the last rule is skipped, since `*` has matched, so it is no parent of src/keep.
    assert not IgnoreRules(["*", "!src/keep", "src"]).ignored("src/keep")
    assert IgnoreRules(["*", "!src/keep", "src"]).ignored("src/other")


READ = [
    (b"", ()),
    (b"\xef\xbb\xbfa\n", ("a",)),
    (b"# no\n #yes\n\n   \nb\r\n", ("#yes", "b")),
    (b"/a\n//b\n/\n./c/\nd//e\n", ("a", "b", "/", "c", "d/e")),
    (b"! a\n!/b\n!./c/\n!\n", ("!a", "!b", "!c", "!")),
    (b"../x\na/../../y\n", ("../x", "../y")),
    (b".\n..\n", (".", "..")),
    ("\u00a0caf\u00e9\u2003\n".encode(), ("caf\u00e9",)),
    (b"\xff*\n", ("\udcff*",)),
    (b"a # b\n", ("a # b",)),
]


@pytest.mark.parametrize(("data", "patterns"), READ)
def test_read_ignore(data: bytes, patterns: tuple[str, ...]) -> None:
    assert read_ignore(data) == patterns


def test_bytes_that_are_no_utf8_match_themselves() -> None:
    rules = IgnoreRules(read_ignore(b"\xff*\n"))
    assert rules.ignored(b"\xffx".decode("utf-8", "surrogateescape"))
    assert not rules.ignored("x")


BAD = ["!", "[", "[a", "[]a]", "[^]a]", "a[-x]", "[a-]", "[a-", "x\\", "[\\", "!["]


@pytest.mark.parametrize("pattern", BAD)
def test_malformed_patterns_are_errors(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        IgnoreRules(["ok", pattern])


# ---- against the rules written down as plainly as can be


def naive_expression(pattern: str) -> re.Pattern[str]:
    out, at = "", 0
    if re.fullmatch(r"\*\*[^/*?\[\]\\][^*?\[\]\\]*", pattern):
        return re.compile(".*" + re.escape(pattern[2:]) + r"\Z", re.S)
    while at < len(pattern):
        ch = pattern[at]
        at += 1
        if pattern.startswith("*", at) and ch == "*":
            at += 1
            if pattern.startswith("/", at):
                at += 1
            out += ".*" if at == len(pattern) else "(.*/)?"
        elif ch == "*":
            out += "[^/]*"
        elif ch == "?":
            out += "[^/]"
        elif ch == "[":
            end = pattern.index("]", at)
            out += "[" + pattern[at:end] + "]"
            at = end + 1
        else:
            out += re.escape(ch)
    return re.compile(out + r"\Z", re.S)


def naive(patterns: list[str], path: str) -> bool:
    """Walk down to the path as BuildKit does, deciding every parent on the way."""
    inherited = [False] * len(patterns)
    ignored = False
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        here = "/".join(parts[:depth])
        ignored = False
        for index, pattern in enumerate(patterns):
            negated = pattern.startswith("!")
            hit = inherited[index]
            if not hit and negated == ignored:
                hit = naive_expression(pattern.removeprefix("!")).match(here) is not None
            inherited[index] = hit
            if hit:
                ignored = not negated
    return ignored


PIECE = st.sampled_from(["a", "b", "ab", "*", "?", "**", "a*", "*b", "a**", "**b", "a*b", "[ab]", "[^a]", "a?*"])
PATTERN = st.builds(
    lambda negated, pieces: ("!" if negated else "") + "/".join(pieces),
    st.booleans(),
    st.lists(PIECE, min_size=1, max_size=4),
)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab", "bb", "c"]), min_size=1, max_size=4).map("/".join)


@settings(deadline=None)
@given(st.lists(PATTERN, min_size=1, max_size=4), st.lists(PATH, min_size=1, max_size=4))
def test_the_rules_agree_with_a_naive_walk(patterns: list[str], paths: list[str]) -> None:
    rules = IgnoreRules(patterns)
    for path in paths:
        assert rules.ignored(path) == naive(patterns, path), path


@settings(deadline=None)
@given(st.lists(PATTERN, min_size=1, max_size=4), PATH, PATH)
def test_nothing_is_taken_back_below_a_directory_that_says_so(patterns: list[str], top: str, rest: str) -> None:
    rules = IgnoreRules(patterns)
    if rules.ignored(top) and not rules.may_reinclude(top):
        assert naive(patterns, f"{top}/{rest}")


@settings(deadline=None)
@given(st.lists(PATTERN, min_size=1, max_size=3), PATH, PATH)
def test_a_settled_level_answers_for_everything_below(patterns: list[str], top: str, rest: str) -> None:
    level = IgnoreRules(patterns).level(top)
    if level.settled:
        assert naive(patterns, f"{top}/{rest}") == level.default


def test_may_reinclude_is_exact() -> None:
    rules = IgnoreRules(["*", "!src/lib/*.c"])
    assert rules.may_reinclude("src")
    assert rules.may_reinclude("src/lib")
    assert not rules.may_reinclude("src/other")
    assert not rules.may_reinclude("docs")
    assert not rules.may_reinclude("src/lib/x.c")
    assert IgnoreRules(["*", "!**/x"]).may_reinclude("deep/down")
    assert IgnoreRules(["*", "!a**x"]).may_reinclude("ab/c")
    assert not IgnoreRules(["*", "!a**x"]).may_reinclude("b")


def test_directories_with_the_same_prospects_share_a_level() -> None:
    rules = IgnoreRules(["**/*.o", "build"])
    assert rules.level("src/a") is rules.level("src/b/c")
    assert rules.level("build/x").settled
    assert rules.level("build/x").default
    settled = IgnoreRules(["build"]).level("src")
    assert settled.settled
    assert not settled.default
    assert settled.below("x") is settled


HARD = [
    "*a" * 100 + "b",
    "**/" + "*a" * 100 + "b",
    "**a" * 50 + "*b",
    "**/a/" * 50 + "b",
    "*a**" * 50 + "*b",
    "[^z]*" * 50 + "b",
    "a*" * 100 + "?b",
    "**" + "?*" * 100 + "b",
]


@pytest.mark.parametrize("pattern", HARD)
@pytest.mark.parametrize("name", ["a" * 4096, "/".join("a" * 2048), "ab" * 2048 + "c"])
@pytest.mark.timeout(20)
@pytest.mark.attack("C12")
def test_no_pattern_explodes(pattern: str, name: str) -> None:
    # A matcher that backtracks would need longer than the machine will stand, not merely longer than the limit.
    assert not IgnoreRules([pattern]).ignored(name)


def steps(patterns: list[str], path: str) -> int:
    """How many lines of the matcher run until it knows whether the path is ignored, once the patterns are parsed."""
    rules = IgnoreRules(patterns)
    count = 0

    def line(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, event: str, argument: object) -> Any:
        return line if frame.f_code.co_filename in (wildcards.__file__, buildkit_py.patterns.__file__) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        rules.ignored(path)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("pattern", HARD)
@pytest.mark.parametrize("unit", ["a", "a/", "ab", "a/b/"])
def test_steps_grow_no_faster_than_the_path(pattern: str, unit: str) -> None:
    few, many = steps([pattern], unit * 100 + "c"), steps([pattern], unit * 800 + "c")
    assert many <= 8 * few + 200


@pytest.mark.parametrize(
    "kind", [lambda n: "*a" * n + "b", lambda n: "**/" * n + "b", lambda n: "**a" * n, lambda n: "a*" * n + "?b"]
)
def test_steps_are_no_more_than_path_times_pattern(kind: Callable[[int], str]) -> None:
    path = "a/" * 50 + "a" * 50 + "c"
    for size in (10, 20, 40, 80, 160):
        assert steps([kind(size)], path) <= 10 * len(path) * len(kind(size))


def test_steps_grow_no_faster_than_the_number_of_rules() -> None:
    path = "/".join(["abc"] * 20)
    few, many = (steps([f"**/x{number}*y" for number in range(count)], path) for count in (20, 160))
    assert many <= 8 * few + 200


def test_common_patterns_do_not_load_re() -> None:
    program = (
        "import sys; from buildkit_py.patterns import IgnoreRules\n"
        "rules = IgnoreRules(['.git', '**/*.pyc', 'tmp*', '*', '!src', '*.pyc', 'a**b', '**/node_modules'])\n"
        "assert not rules.ignored('src/x') and rules.ignored('y.pyc') and rules.ignored('b')\n"
        "assert 're' not in sys.modules, 're'"
    )
    subprocess.run(
        [sys.executable, "-S", "-c", program], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))}
    )
