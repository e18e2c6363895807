"""Word expansion: every form, as BuildKit's shell lexer answers it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.expand import expand, expand_raw, expand_words, expansion
from buildkit_py.source_map import Position

ENV = {
    "PWD": "/home",
    "SHELL": "bash",
    "KOREAN": "한국어",
    "EMPTY": "",
    "SPACES": " a  b ",
    "PATH_": "/usr/local/lib/libfoo.so.1.2",
    "abc": "aXbXc",
    "1": "one",
    "10": "ten",
    "Ü": "umlaut",
    "LINES": "one\ntwo",
    "PORTS": "80 443/tcp",
    "DOLLAR": "$PWD",
}

FORMS = [
    # plain text, quotes, escapes
    ("hello", "hello"),
    ("he'll'o", "hello"),
    ("'hello world'", "hello world"),
    ('"hello world"', "hello world"),
    ("''", ""),
    (r"a\tb", "atb"),
    (r"he\'llo", "he'llo"),
    (r"\\", "\\"),
    ("trailing\\", "trailing"),
    (r"'a\b'", r"a\b"),
    (r'"a\b"', r"a\b"),
    (r'"a\"b"', 'a"b'),
    (r'"a\\b"', r"a\b"),
    (r'"a\$PWD"', "a$PWD"),
    ('"it\'s"', "it's"),
    ("a  b", "a  b"),
    ("`date`", "`date`"),
    # names
    ("$PWD", "/home"),
    ("a$PWD/b", "a/home/b"),
    ("${PWD}s", "/homes"),
    ("$PWDs", ""),
    ("'$PWD'", "$PWD"),
    ('"$PWD"', "/home"),
    (r"\$PWD", "$PWD"),
    ("$", "$"),
    ("a$", "a$"),
    ("$ ", "$ "),
    ("$.x", "$.x"),
    ("$$", ""),
    ("$1x", "onex"),
    ("$10", "ten"),
    ("$Ü!", "umlaut!"),
    ("${KOREAN}말", "한국어말"),
    ("$@$*$#$?$-$!$0", ""),
    ("${@}", ""),
    ("$UNSET", ""),
    ("${UNSET}", ""),
    ("$DOLLAR", "$PWD"),
    # unset or empty
    ("${UNSET:-x}", "x"),
    ("${UNSET-x}", "x"),
    ("${EMPTY:-x}", "x"),
    ("${EMPTY-x}", ""),
    ("${PWD:-x}", "/home"),
    ("${UNSET:-}", ""),
    ("${UNSET:-$PWD}", "/home"),
    ("${UNSET:-${ALSO:-deep}}", "deep"),
    ("${UNSET:-'a}b'}", "a}b"),
    (r"${UNSET:-a\}b}", "a}b"),
    ('${UNSET:-"a b"}', "a b"),
    ("${UNSET:--}", "-"),
    ("${UNSET:+x}", ""),
    ("${UNSET+x}", ""),
    ("${EMPTY:+x}", ""),
    ("${EMPTY+x}", "x"),
    ("${PWD:+x$SHELL}", "xbash"),
    ("${PWD:?}", "/home"),
    ("${EMPTY?}", ""),
    # prefixes and suffixes
    ("${PATH_#*/}", "usr/local/lib/libfoo.so.1.2"),
    ("${PATH_##*/}", "libfoo.so.1.2"),
    ("${PATH_%.*}", "/usr/local/lib/libfoo.so.1"),
    ("${PATH_%%.*}", "/usr/local/lib/libfoo"),
    ("${PATH_%/*}", "/usr/local/lib"),
    ("${PATH_#/usr}", "/local/lib/libfoo.so.1.2"),
    ("${PATH_#nothing}", "/usr/local/lib/libfoo.so.1.2"),
    ("${PATH_%nothing}", "/usr/local/lib/libfoo.so.1.2"),
    ("${abc#?}", "XbXc"),
    ("${abc%%X*X?}", "a"),
    ("${abc##*}", ""),
    ("${abc#*}", "aXbXc"),
    ("${abc#}", "aXbXc"),
    ("${abc#[a]}", "aXbXc"),
    (r"${UNSET#\*}", ""),
    ("${SHELL#$UNSET}", "bash"),
    ("${SHELL%sh}", "ba"),
    ("${SHELL%${SHELL#ba}}", "ba"),
    ("${LINES#*o}", "ne\ntwo"),
    ("${LINES##*o}", "ne\ntwo"),
    ("${LINES%%w*}", "one\nt"),
    # substitution
    ("${abc/X/-}", "a-bXc"),
    ("${abc//X/-}", "a-b-c"),
    ("${abc//X/}", "abc"),
    ("${abc/X*X/-}", "a-c"),
    ("${abc//?X/_}", "__c"),
    ("${abc//*/y}", "y"),
    ("${abc/q/z}", "aXbXc"),
    ("${PATH_//\\//:}", ":usr:local:lib:libfoo.so.1.2"),
    ("${EMPTY//*/y}", "y"),
    ("${SHELL///.}", ".b.a.s.h."),
    ("${abc/#a/z}", "aXbXc"),
    (r"${abc//b/\}}", r"aX\}Xc"),
    (r"${abc//b/\$0}", r"aX\bXc"),
    (r"${abc/b/\$0}", r"aX\$0Xc"),
    ("${abc//b/$PWD}", "aX/homeXc"),
    ("${UNSET/a/b}", ""),
    ("${abc/$UNSET/z}", "zaXbXc"),
]


@pytest.mark.parametrize(("word", "result"), FORMS)
def test_form(word: str, result: str) -> None:
    assert expand(word, ENV.get) == result


@pytest.mark.parametrize(
    ("word", "result"),
    [("a`tb", "atb"), (r"C:\Windows", r"C:\Windows"), ("`$PWD", "$PWD"), ('"a`"b"', 'a"b'), (r"\$PWD", r"\/home")],
)
def test_backtick_as_escape(word: str, result: str) -> None:
    assert expand(word, ENV.get, escape="`") == result


ERRORS = [
    ("'abc", "unterminated `'` in `'abc`"),
    ('"abc', 'unterminated `"` in `"abc`'),
    ('"abc\\', 'unterminated `"` in `"abc\\`'),
    ("${", "missing `}` in `${`"),
    ("${x", "missing `}` in `${x`"),
    ("${x:", "missing `}` in `${x:`"),
    ("${x:-y", "missing `}` in `${x:-y`"),
    ("${}", "bad substitution in `${}`"),
    ("${{x}}", "bad substitution in `${{x}}`"),
    ("${:x}", "bad substitution in `${:x}`"),
    ("1\n2 ${x\r\n3}\n", "missing `}` in `2 ${x`"),
    ("$y\n${x:\n}", "missing `}` in `${x:`"),
    ("1\na ${x:-\n$z 3", "missing `}` in `$z 3`"),
    ("1\n${x^}\n3", "unsupported modifier `^` in `${x^}`"),
    ("${x y}", "unsupported modifier ` ` in `${x y}`"),
    ("${x^^}", "unsupported modifier `^` in `${x^^}`"),
    ("${x:#y}", "unsupported modifier `:#` in `${x:#y}`"),
    ("${x:%y}", "unsupported modifier `:%` in `${x:%y}`"),
    ("${x:1:2}", "unsupported modifier `:1` in `${x:1:2}`"),
    ("${x/a}", "missing `/` in `${x/a}`"),
    ("${x:-" * 101 + "}" * 101, "variables are nested more than 100 deep"),
    ("${x/a/b", "missing `}` in `${x/a/b`"),
    (r"${PWD#\a}", r"invalid pattern `\a` (invalid escape `\a`) in `${PWD#\a}`"),
    (r"${PWD/\a/b}", r"invalid pattern `\a` (invalid escape `\a`) in `${PWD/\a/b}`"),
    ("${UNSET?}", "UNSET: is not allowed to be unset"),
    ("${UNSET:?}", "UNSET: is not allowed to be unset"),
    ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
    ("${UNSET:?set $SHELL}", "UNSET: set bash"),
]


@pytest.mark.parametrize(("word", "message"), ERRORS)
def test_error(word: str, message: str) -> None:
    place = Position("Buildfile", 3, 7)
    with pytest.raises(BuildfileError) as caught:
        expand(word, ENV.get, at=place)
    assert caught.value.message == message
    assert caught.value.at is place


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("80", ("80",)),
        ("$PORTS", ("80", "443/tcp")),
        ("'$PORTS'", ("$PORTS",)),
        ('"$PORTS"', ("80 443/tcp",)),
        ("x$PORTS", ("x80", "443/tcp")),
        ("$SPACES", ("a", "b")),
        ("'a b'c d", ("a bc", "d")),
        (r"a\ b", ("a b",)),
        ("$UNSET", ()),
        ("", ()),
        ("''", ()),
    ],
)
def test_words(word: str, words: tuple[str, ...]) -> None:
    assert expand_words(word, ENV.get) == words


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain\n", "plain\n"),
        ("it's $SHELL\n", "it's bash\n"),
        ('"$PWD"', '"/home"'),
        (r"a\nb \$PWD \\", r"anb $PWD " + "\\"),
        ("`date` ${UNSET:-x}", "`date` x"),
        ("${UNSET:-'x'}", "'x'"),
    ],
)
def test_heredoc_bodies(text: str, result: str) -> None:
    assert expand_raw(text, ENV.get) == result
    assert expansion(text, ENV.get, raw=True, escape="`").text == result


@pytest.mark.parametrize(
    ("word", "used", "undefined"),
    [
        ("plain", (), ()),
        ("$PWD$UNSET$PWD", ("PWD", "UNSET"), ("UNSET",)),
        ("${UNSET:-$SHELL}", ("SHELL", "UNSET"), ()),
        ("${UNSET+x}", ("UNSET",), ()),
        ("${UNSET#x}${GONE/a/b}", ("UNSET", "GONE"), ("UNSET", "GONE")),
        ("'$PWD'", (), ()),
    ],
)
def test_names_that_decided_are_told(word: str, used: tuple[str, ...], undefined: tuple[str, ...]) -> None:
    result = expansion(word, ENV.get)
    assert result.used == used
    assert result.undefined == undefined
    assert set(result.unset) == {name for name in used if ENV.get(name) is None}


# ---- against a shell, for the forms in which it and BuildKit agree

NAME = st.sampled_from(["A", "E", "U"])
CHUNK = st.sampled_from(["a", "b", "ab", "*", "?", "ba*", "*b", "?a"])
FORM = st.one_of(
    st.builds(
        "${{{}{}{}}}".format, NAME, st.sampled_from([":-", "-", ":+", "+"]), st.sampled_from(["", "x", "$A", "${E:-y}"])
    ),
    st.builds(
        "${{{}{}{}}}".format, NAME, st.sampled_from(["#", "##", "%", "%%"]), st.lists(CHUNK, max_size=3).map("".join)
    ),
    st.builds("${}".format, NAME),
)


@settings(deadline=None, max_examples=30)
@given(st.lists(FORM, min_size=20, max_size=60), st.text("ab", max_size=6))
def test_a_shell_answers_the_same(words: list[str], value: str) -> None:
    script = "U=; unset U; E=\n" + "".join(f'printf "%s\\n" "{word}"\n' for word in words)
    env = {"A": value, "E": ""}
    said = subprocess.run(["sh", "-c", script], env={"A": value}, capture_output=True, text=True, check=True).stdout
    assert [expand(word, env.get) for word in words] == said.split("\n")[:-1]


@settings(deadline=None)
@given(st.text("ab*?", max_size=7), st.text("ab", max_size=9))
def test_trimming_takes_the_shortest_and_the_longest(pattern: str, value: str) -> None:
    import fnmatch

    env = {"v": value}.get
    ends = [end for end in range(len(value) + 1) if fnmatch.fnmatchcase(value[:end], pattern)]
    assert expand("${v#" + pattern + "}", env) == (value[min(ends) :] if ends else value)
    assert expand("${v##" + pattern + "}", env) == (value[max(ends) :] if ends else value)
    starts = [start for start in range(len(value) + 1) if fnmatch.fnmatchcase(value[start:], pattern)]
    assert expand("${v%" + pattern + "}", env) == (value[: max(starts)] if starts else value)
    assert expand("${v%%" + pattern + "}", env) == (value[: min(starts)] if starts else value)


@settings(deadline=None)
@given(st.text())
def test_every_word_expands_or_says_why_not(word: str) -> None:
    try:
        result = expansion(word, ENV.get)
    except BuildfileError:
        return
    assert expand(word, ENV.get) == result.text


def test_the_module_is_cheap_to_load() -> None:
    program = (
        "import sys; import buildkit_py.frontend.buildfile.expand\n"
        "heavy = {'re', 'typing', 'lark', 'json', 'enum'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-S", "-c", program], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))}
    )
