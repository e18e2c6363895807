"""The patterns of `${x#p}` and `${x/p/r}` by themselves."""

from __future__ import annotations

import pytest

from buildkit_py.frontend.buildfile.wildcard import go_replacement, replace, trim


@pytest.mark.parametrize(
    ("pattern", "suffix", "longest", "result"),
    [
        ("*.", False, False, "b.c"),
        ("*.", False, True, "c"),
        (".*", True, False, "a.b"),
        (".*", True, True, "a"),
        ("", False, True, "a.b.c"),
        (r"a\.", False, False, None),
        (r"a.\*", False, False, "a.b.c"),
        ("x*", True, True, "a.b.c"),
    ],
)
def test_trim(pattern: str, suffix: bool, longest: bool, result: str | None) -> None:
    if result is None:
        with pytest.raises(ValueError, match="invalid escape"):
            trim("a.b.c", pattern, suffix=suffix, longest=longest)
        return
    assert trim("a.b.c", pattern, suffix=suffix, longest=longest) == result


@pytest.mark.parametrize(
    ("value", "pattern", "everywhere", "result"),
    [
        ("aXbX", "X", False, "a<X>bX"),
        ("aXbX", "X", True, "a<X>b<X>"),
        ("abc", "", True, "<>a<>b<>c<>"),
        ("abc", "*", True, "<abc>"),
        ("a\nb", "*", True, "<a>\n<b>"),
        ("", "*", True, "<>"),
        ("a*b", r"\*", True, "a<*>b"),
        ("a/b}", r"\/", True, "a</>b}"),
        ("a/b}", r"\}", True, "a/b<}>"),
        ("aab", "a*b", False, "<aab>"),
    ],
)
def test_replace(value: str, pattern: str, everywhere: bool, result: str) -> None:
    assert replace(value, pattern, "<{}>".format, everywhere=everywhere) == result


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("x", "x"),
        ("$0", "M"),
        ("${0}x", "Mx"),
        ("$0x", ""),
        ("$1", ""),
        ("$name-", "-"),
        ("${name}", ""),
        ("$$", "$"),
        ("$", "$"),
        ("$-", "$-"),
        ("${0", "${0"),
        ("${}", "${}"),
    ],
)
def test_go_replacement(template: str, result: str) -> None:
    assert go_replacement(template, "M") == result
