"""The texts of compose files: YAML scalars, variables in them, and files with variables."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from buildkit_py.errors import ComposeError, UsageError
from buildkit_py.frontend.compose import document
from buildkit_py.frontend.compose.document import documents
from buildkit_py.frontend.compose.dotenv import read_variables
from buildkit_py.frontend.compose.variables import expand
from buildkit_py.frontend.compose.words import split

ENV = {"A": "1", "EMPTY": "", "B_2": "two words", "NESTED": "x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("~", None), ("null", None), ("", None), ("true", True), ("False", False)],
        # YAML 1.1 would have booleans, sexagesimals and dates here.
        *[("no", "no"), ("on", "on"), ("22:22", "22:22"), ("2026-11-27", "2026-11-27")],
        *[("0440", 288), ("0o440", 288), ("0x1F", 31), ("-7", -7), ("1.50", 1.5), ("1e3", 1000.0), ("089", 89.0)],
        *[("'1'", "1"), ('"true"', "true"), ("!!str 1", "1"), ("!!int 1", 1), ("=", "="), ("<<", "<<")],
    ],
)
def test_scalars(text: str, value: object) -> None:
    (found,) = documents(f"a: [{text}]\n".encode(), "x") if text else documents(b"a: [null]", "x")
    got = found.data["a"].data[0].data
    assert (got, type(got)) == (value, type(value))


def test_a_scalar_keeps_its_text_and_its_place() -> None:
    (found,) = documents(b"a:\n  b: 1.50\n", "x.yaml")
    value = found.data["a"].data["b"]
    assert (value.text, str(value.at), str(value.key)) == ("1.50", "x.yaml:2:6", "x.yaml:2:3")


def test_merges_of_mappings() -> None:
    text = b"a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: {z: 4, <<: *b}\n"
    (found,) = documents(text, "x")
    assert {key: one.data for key, one in found.data["c"].data.items()} == {"x": 1, "y": 1, "z": 3}
    assert {key: one.data for key, one in found.data["d"].data.items()} == {"y": 2, "z": 4}


@pytest.mark.parametrize("text", [b"[" * 900 + b"]" * 900, b"[" * 5000, b"{a: " * 200 + b"}" * 200])
def test_what_is_nested_too_deeply(text: bytes) -> None:
    with pytest.raises(ComposeError, match="nest"):
        documents(text, "x")


def test_aliases_that_stand_for_too_much() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ComposeError, match="more than 200000 values"):
        documents("\n".join(lines).encode(), "x")


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ComposeError, match=r"x:2:1: this is no UTF-8"):
        documents(b"a: 1\nb: \xff\n", "x")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    document._library.cache_clear()
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UsageError, match="PyYAML, which is not installed") as found:
        documents(b"a: 1", "x")
    assert "buildkit-py[yaml]" in found.value.hint
    document._library.cache_clear()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("$A", "1"), ("${A}", "1"), ("x${A}y$A.z", "x1y1.z"), ("$$A", "$A"), ("$$$A", "$1"), ("100%", "100%")],
        *[("${U}", ""), ("${U:-d}", "d"), ("${U-d}", "d"), ("${EMPTY:-d}", "d"), ("${EMPTY-d}", ""), ("${A:-d}", "1")],
        *[("${A:+y}", "y"), ("${A+y}", "y"), ("${EMPTY:+y}", ""), ("${EMPTY+y}", "y"), ("${U+y}", "")],
        *[("${U:-${A}}", "1"), ("${U:-${V:-$A}x}", "1x"), ("${U:-a:b}", "a:b"), ("${U:-}", ""), ("${A:?no}", "1")],
        *[("${U:-$$x}", "$x"), ("$B_2", "two words"), ("${U:-a}}", "a}"), ("", "")],
        *[("$", "$"), ("$1", "$1"), ("^(a|b)($|/)", "^(a|b)($|/)"), ("$(id) $A", "$(id) 1"), ("${U:-a$}", "a$")],
    ],
)
def test_variables(text: str, value: str) -> None:
    assert expand(text, ENV) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${U:?set it}", "`U` has to be set: set it"),
        ("${U?}", "`U` has to be set"),
        ("${EMPTY:?$A}", "`EMPTY` has to be set: 1"),
        ("${", "`${` has no closing brace"),
        ("${A", "`${A` has no closing brace"),
        ("${}", "`${}` is no variable"),
        ("${A!x}", "`${A!x}` is no variable"),
        ("${U:-" * 60 + "}" * 60, "variables are nested too deeply"),
    ],
)
def test_no_variables(text: str, said: str) -> None:
    with pytest.raises(ValueError) as found:
        expand(text, ENV)
    assert str(found.value) == said


@pytest.mark.parametrize(
    ("text", "words", "operator"),
    [
        ("", (), ""),
        (" a  'b c'\td\n", ("a", "b c", "d"), ""),
        ("a '' \"\"", ("a", "", ""), ""),
        ('awk "{print \\$1}"', ("awk", "{print $1}"), ""),
        (r"""a\ b "\`" '\n' "\n" \t\x""", ("a b", "`", r"\n", "\n", "\tx"), ""),
        ("x'y'\"z\"", ("xyz",), ""),
        ("a|b >c", ("a|b", ">c"), "|"),
        (r"""a ';' "&" \| b#c""", ("a", ";", "&", "|", "b#c"), ""),
    ],
)
def test_commands_that_are_strings(text: str, words: tuple[str, ...], operator: str) -> None:
    assert split(text) == (words, operator)


def test_who_is_unset_is_told_of() -> None:
    unset: list[str] = []
    assert expand("$U ${V} ${W:-x} $A", ENV, unset.append) == "  x 1"
    assert unset == ["U", "V"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", {"A": "b"}),
        ("export A=b\n  B = c \n", {"A": "b", "B": "c"}),
        ("# x\n\nA=b # comment\nB=b#c\nC=#c\n", {"A": "b", "B": "b#c", "C": "#c"}),
        ("A=\nB=''\n", {"A": "", "B": ""}),
        ('A=\'$X \\n\'\nB="a\\nb\\t\\"c\\""', {"A": "$X \\n", "B": 'a\nb\t"c"'}),
        ("A='two\nlines' # x\nB=1", {"A": "two\nlines", "B": "1"}),
        ("A=1\nB=${A}2\nC=\"${B}3\"\nD='$A'", {"A": "1", "B": "12", "C": "123", "D": "$A"}),
        ("A=${HOME}\nB=\\$x", {"A": "/home/me", "B": "\\"}),
        ("HOME\nNOT_SET\n", {"HOME": "/home/me"}),
        ("A: b\r\nB=c\r\n", {"A": "b", "B": "c"}),
        ("A=x=y\nB=1 2", {"A": "x=y", "B": "1 2"}),
        ('A="\\$HOME"', {"A": "$HOME"}),
        ("\ufeffA=1", {"A": "1"}),
        ("2FA_KEY=x\n.a=1\n-b=2\nexport 1", {"2FA_KEY": "x", ".a": "1", "-b": "2"}),
    ],
)
def test_files_with_variables(text: str, value: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "env").write_text(text, newline="")
    assert read_variables(str(tmp_path / "env"), "env", {"HOME": "/home/me"}) == value


def test_values_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A='b' # c\nB=$HOME\n")
    assert read_variables(str(tmp_path / "env"), "env", {}, raw=True) == {"A": "'b' # c", "B": "$HOME"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\n@A=2", "env:2:1: this is no `NAME=value`"),
        ("A B=2", "env:1:1: this is no `NAME=value`"),
        ("A='x\n", "env:1:3: this has no closing '"),
        ("A='x' y\n", "env:1:6: nothing but a comment may follow a quoted value"),
        ("A=${B:?why}\n", "env:1:3: `B` has to be set: why"),
    ],
)
def test_no_files_with_variables(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text(text)
    with pytest.raises(ComposeError) as found:
        read_variables(str(tmp_path / "env"), "env", {})
    assert str(found.value) == said


def test_what_is_no_comment_and_no_variable(tmp_path: Path) -> None:
    (tmp_path / "env").write_text('A=#ff0000\nB= # none\nC=x#y\nD=abc$\nE=a$!b$1\nF="^x$"\nG=$$A\n')
    assert read_variables(str(tmp_path / "env"), "env", {}) == {
        "A": "#ff0000",
        "B": "",
        "C": "x#y",
        "D": "abc$",
        "E": "a$!b$1",
        "F": "^x$",
        "G": "$A",
    }
