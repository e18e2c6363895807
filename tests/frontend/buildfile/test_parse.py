"""Parsing whole Buildfiles: each instruction's forms, and where everything stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.errors import BuildfileError, BuildfileSyntaxError
from buildkit_py.frontend.buildfile import syntax
from buildkit_py.frontend.buildfile.parse import parse_file, parse_text
from buildkit_py.source_map import Position


def one(line: str, escape: str = "") -> syntax.Instruction:
    """The instruction of a text that holds one."""
    head = f"# escape={escape}\n" if escape else ""
    (instruction,) = parse_text(head + line, "Buildfile").instructions
    return instruction


def words(found: tuple[syntax.Word, ...]) -> list[str]:
    return [word.text for word in found]


def flags(found: tuple[syntax.Flag, ...]) -> list[tuple[str, str | None]]:
    return [(flag.name, flag.value) for flag in found]


# ---- FROM


@pytest.mark.parametrize(
    ("line", "image", "name"),
    [
        ("FROM alpine", "alpine", ""),
        ("from alpine:3 as Base", "alpine:3", "base"),
        ("FROM\ta\vAS\fb-c_d.1", "a", "b-c_d.1"),
        ("FROM ${IMG:-x} AS y", "${IMG:-x}", "y"),
        ("FROM as AS as", "as", "as"),
        ("FROM -- a", "a", ""),
    ],
)
def test_from(line: str, image: str, name: str) -> None:
    node = one(line)
    assert isinstance(node, syntax.From)
    assert (node.image.text, node.name) == (image, name)


def test_from_platform() -> None:
    node = one('FROM --platform="linux/amd64" a AS b')
    assert isinstance(node, syntax.From)
    assert node.flags == (syntax.Flag("platform", "linux/amd64", Position("Buildfile", 1, 6)),)
    assert node.image.position == Position("Buildfile", 1, 31)


@pytest.mark.parametrize(
    ("text", "doc"),
    [
        ("# The web shop\nFROM a AS web", "The web shop"),
        ("# line one\n# line two\nFROM a AS web", "line one\nline two"),
        ("# web is for the web\nFROM a AS web", "is for the web"),
        ("# other\n#\n# kept\nFROM a", "kept"),
        ("# other\n\nFROM a", ""),
        ("# syntax=docker/dockerfile:1\nFROM a", ""),
        ("# syntax=docker/dockerfile:1\n# real\nFROM a", "real"),
        ("ARG y\n# check=skip=all\n# real\nFROM a", "real"),
        ("ARG x\nFROM a", ""),
    ],
)
def test_descriptions(text: str, doc: str) -> None:
    node = parse_text(text, "Buildfile").instructions[-1]
    assert isinstance(node, syntax.From)
    assert node.doc == doc


def test_argument_description() -> None:
    node = one("# VERSION of the thing\nARG VERSION=1")
    assert isinstance(node, syntax.Arg)
    assert node.doc == "of the thing"


# ---- commands


@pytest.mark.parametrize("keyword", ["RUN", "CMD", "ENTRYPOINT"])
@pytest.mark.parametrize(
    ("rest", "shell", "argv"),
    [
        ("echo  a 'b  c'", "echo  a 'b  c'", None),
        ('["echo", "a b"]', None, ("echo", "a b")),
        ('[ "a" ,\t"b" ] ', None, ("a", "b")),
        ("[]", None, ()),
        (r'["\u00e9\n\"\\\/"]', None, ('é\n"\\/',)),
        (r'["\ud83d\ude00", "\ud800"]', None, ("😀", "\ufffd")),
        ("[ -f x ]", "[ -f x ]", None),
        ("['a']", "['a']", None),
        ('["a" "b"]', '["a" "b"]', None),
        ('["a",]', '["a",]', None),
        ('["a"] && x', '["a"] && x', None),
        ('["a', '["a', None),
        (r'["\x"]', r'["\x"]', None),
        ("[[ -f x ]]", "[[ -f x ]]", None),
        ("[NaN]", "[NaN]", None),
        ("", "", None),
        ("-- --version", "--version", None),
        ("-x", "-x", None),
        ("$X # no comment", "$X # no comment", None),
    ],
)
def test_command(keyword: str, rest: str, shell: str | None, argv: tuple[str, ...] | None) -> None:
    node = one(f"{keyword} {rest}")
    assert isinstance(node, syntax.RunStep | syntax.Cmd | syntax.Entrypoint)
    assert (node.command.shell, node.command.argv) == (shell, argv)
    assert node.keyword == keyword


def test_run_flags() -> None:
    node = one(
        "RUN --mount=type=cache,target=/x --mount='type=bind,\"a b\"' --network=none --device=a --device=b x --y"
    )
    assert isinstance(node, syntax.RunStep)
    assert flags(node.flags) == [
        ("mount", "type=cache,target=/x"),
        ("mount", 'type=bind,"a b"'),
        ("network", "none"),
        ("device", "a"),
        ("device", "b"),
    ]
    assert node.command.shell == "x --y"


@pytest.mark.parametrize(
    ("written", "escape", "value"),
    [
        (r"a\ b", "\\", "a b"),
        ('"a b"c', "\\", "a bc"),
        (r"'a\'b'", "\\", "a'b"),
        (r'"\""', "\\", '"'),
        ("a` b", "`", "a b"),
        (r"a\b", "`", r"a\b"),
        ("", "\\", ""),
        ("a=b=c", "\\", "a=b=c"),
        ("ab\\\\\\", "\\", "ab\\"),
    ],
)
def test_flag_values_lose_quotes_and_escapes(written: str, escape: str, value: str) -> None:
    node = one(f"RUN --mount={written}" + ("" if written.endswith("\\") else " x"), escape)
    assert isinstance(node, syntax.RunStep)
    assert node.flags[0].value == value


@pytest.mark.parametrize(
    ("line", "argv"), [('SHELL ["/bin/bash", "-c"]', ("/bin/bash", "-c")), ('shell ["x"]', ("x",))]
)
def test_shell(line: str, argv: tuple[str, ...]) -> None:
    node = one(line)
    assert isinstance(node, syntax.Shell)
    assert node.argv == argv


def test_healthcheck() -> None:
    none = one("HEALTHCHECK NONE")
    assert isinstance(none, syntax.HealthcheckStep)
    assert none.command is None
    node = one("HEALTHCHECK --interval=1m30s --timeout=0 --retries=3 --start-period= cmd curl -f localhost || exit 1")
    assert isinstance(node, syntax.HealthcheckStep)
    assert node.command is not None
    assert node.command.shell == "curl -f localhost || exit 1"
    assert flags(node.flags) == [("interval", "1m30s"), ("timeout", "0"), ("retries", "3"), ("start-period", "")]
    exec_form = one('HEALTHCHECK CMD ["a"]')
    assert isinstance(exec_form, syntax.HealthcheckStep)
    assert exec_form.command is not None
    assert exec_form.command.argv == ("a",)


# ---- pairs


@pytest.mark.parametrize("keyword", ["ENV", "LABEL"])
@pytest.mark.parametrize(
    ("rest", "pairs"),
    [
        ("a=b", [("a", "b")]),
        ("a=b c=d", [("a", "b"), ("c", "d")]),
        ("a=", [("a", "")]),
        ("a==b", [("a", "=b")]),
        ("a='b c' d=\"e f\"", [("a", "'b c'"), ("d", '"e f"')]),
        ('"a b"=c', [('"a b"', "c")]),
        ('"a=b" c=d', [('"a', 'b"'), ("c", "d")]),
        (r"a=b\ c d=e", [("a", r"b\ c"), ("d", "e")]),
        (r"a=\"b c=d", [("a", r"\"b"), ("c", "d")]),
        ('a="b\\"c d" e=f', [("a", '"b\\"c d"'), ("e", "f")]),
        ("a='b\\' c=d", [("a", "'b\\'"), ("c", "d")]),
        ('a="open b=c', [("a", '"open b=c')]),
        ("a=$b ${c}=d", [("a", "$b"), ("${c}", "d")]),
        (r"a\=b=c", [("a\\", "b=c")]),
        ("a=b\\\\", [("a", "b\\\\")]),
        ("ключ=значение", [("ключ", "значение")]),
        ("a=b\u00a0c=d\u3000", [("a", "b"), ("c", "d")]),
    ],
)
def test_pairs(keyword: str, rest: str, pairs: list[tuple[str, str]]) -> None:
    node = one(f"{keyword} {rest}")
    assert isinstance(node, syntax.Env | syntax.Label)
    assert [(pair.key, pair.value) for pair in node.pairs] == pairs
    assert not any(pair.legacy for pair in node.pairs)


@pytest.mark.parametrize(
    ("rest", "key", "value"),
    [
        ("a b", "a", "b"),
        ("a  b  c=d ", "a", "b  c=d"),
        ("a 'b c' d", "a", "'b c' d"),
        ("a =b", "a", "=b"),
        ('"a b" c', '"a', 'b" c'),
        ("a\tb", "a", "b"),
        (r"a\\\\\\\\\\ b", r"a\\\\\\\\\\", "b"),
    ],
)
def test_old_pair(rest: str, key: str, value: str) -> None:
    node = one(f"ENV {rest}")
    assert isinstance(node, syntax.Env)
    (pair,) = node.pairs
    assert (pair.key, pair.value, pair.legacy) == (key, value, True)


@pytest.mark.parametrize(
    ("rest", "pairs"),
    [
        ("a", [("a", None)]),
        ("a b=1 c=", [("a", None), ("b", "1"), ("c", "")]),
        ('a="x y" b', [("a", '"x y"'), ("b", None)]),
        ("--ignored=yes a=1", [("a", "1")]),
        ("a=b\\\\\\", [("a", "b\\\\")]),  # the third escapes nothing, and continues nothing
    ],
)
def test_arg(rest: str, pairs: list[tuple[str, str | None]]) -> None:
    node = one(f"ARG {rest}")
    assert isinstance(node, syntax.Arg)
    assert [(pair.key, pair.value) for pair in node.pairs] == pairs


def test_backtick_escapes_in_pairs() -> None:
    node = one('ENV a=b` c d=C:\\dir\\ e="`""', escape="`")
    assert isinstance(node, syntax.Env)
    assert [(pair.key, pair.value) for pair in node.pairs] == [("a", "b` c"), ("d", "C:\\dir\\"), ("e", '"`""')]


# ---- words


@pytest.mark.parametrize("keyword", ["COPY", "ADD"])
@pytest.mark.parametrize(
    ("rest", "sources", "dest"),
    [
        ("a b", ["a"], "b"),
        ("a b c/", ["a", "b"], "c/"),
        ('["a b", "c"]', ["a b"], "c"),
        ('"a b" c', ['"a', 'b"'], "c"),
        ("[a] b", ["[a]"], "b"),
        ("--link a b", ["a"], "b"),
        ("a --link b", ["a", "--link"], "b"),
        ("-- --a b", ["--a"], "b"),
        ("<<<x b", ["<<<x"], "b"),
    ],
)
def test_transfer(keyword: str, rest: str, sources: list[str], dest: str) -> None:
    node = one(f"{keyword} {rest}")
    assert isinstance(node, syntax.Transfer)
    assert (words(node.sources), node.dest.text, node.keyword) == (sources, dest, keyword)


def test_transfer_flags() -> None:
    copy = one("COPY --from=x --chown=1:2 --chmod=u+x --link=FALSE --parents --exclude=a --exclude=b a b")
    assert isinstance(copy, syntax.Transfer)
    assert flags(copy.flags) == [
        ("from", "x"),
        ("chown", "1:2"),
        ("chmod", "u+x"),
        ("link", "false"),
        ("parents", None),
        ("exclude", "a"),
        ("exclude", "b"),
    ]
    add = one("ADD --keep-git-dir=true --checksum=sha256:1 --unpack=false --exclude=x u d")
    assert isinstance(add, syntax.Transfer)
    assert [name for name, _ in flags(add.flags)] == ["keep-git-dir", "checksum", "unpack", "exclude"]


def test_volume_and_expose() -> None:
    volume = one("VOLUME /a /b")
    assert isinstance(volume, syntax.Volume)
    assert (words(volume.paths), volume.json) == (["/a", "/b"], False)
    volume = one('VOLUME ["/a b"]')
    assert isinstance(volume, syntax.Volume)
    assert (words(volume.paths), volume.json) == (["/a b"], True)
    expose = one("EXPOSE 80 443/tcp $X")
    assert isinstance(expose, syntax.Expose)
    assert words(expose.ports) == ["80", "443/tcp", "$X"]


def test_instructions_whose_argument_is_the_rest_of_the_line() -> None:
    workdir, user, signal, maintainer = parse_text(
        "WORKDIR /a b\nUSER  x y \nSTOPSIGNAL --unread SIGTERM x\nMAINTAINER A <a@b>", "B"
    ).instructions
    assert isinstance(workdir, syntax.Workdir)
    assert isinstance(user, syntax.User)
    assert isinstance(signal, syntax.StopSignal)
    assert isinstance(maintainer, syntax.Maintainer)
    assert (workdir.path.text, user.user.text, signal.signal.text) == ("/a b", "x y", "SIGTERM x")
    assert maintainer.author == "A <a@b>"


def test_onbuild() -> None:
    node = one("onbuild  copy --from=x <<-E . \n\t a\n\tE\n")
    assert isinstance(node, syntax.OnBuild)
    assert node.text == "copy --from=x <<-E .\n\t a\nE"
    assert isinstance(node.trigger, syntax.Transfer)
    assert node.trigger.position == Position("Buildfile", 1, 10)
    assert node.trigger.heredocs[0].body == " a\n"
    assert (node.line_end, node.trigger.line_end) == (3, 3)


def test_everything_may_be_a_trigger_that_may() -> None:
    for line in (
        "ADD a b", "ARG a", "CMD a", "COPY a b", "ENTRYPOINT a", "ENV a=b", "EXPOSE 1", "HEALTHCHECK NONE",
        "LABEL a=b", "RUN a", 'SHELL ["a"]', "STOPSIGNAL 9", "USER a", "VOLUME a", "WORKDIR a",
    ):  # fmt: skip
        node = one(f"ONBUILD {line}")
        assert isinstance(node, syntax.OnBuild)
        assert node.text == line
        assert node.trigger == one(" " * 8 + line)


# ---- whole files


def test_places_and_sources() -> None:
    tree = parse_text(
        "\ufeffFROM a\r\n\n  RUN x \\\r\n   --y \\\n# note\n\t&& z\nENV\\\n a=1 \\\n b=2\n", "dir/Dockerfile"
    )
    start, run, env = tree.instructions
    assert tree.path == "dir/Dockerfile"
    assert str(start.position) == "dir/Dockerfile:1:1"
    assert (run.position.line, run.position.column, run.line_end) == (3, 3, 6)
    assert run.source == "RUN x    --y \t&& z"
    assert isinstance(env, syntax.Env)
    assert [(pair.position.line, pair.position.column) for pair in env.pairs] == [(8, 2), (9, 2)]
    assert env.source == "ENV a=1  b=2"


def test_directives_and_warnings_are_kept() -> None:
    tree = parse_text("#Escape = `\n# syntax=docker/dockerfile:1 more\nFROM a\nRUN x `\n\n  y\n", "B")
    assert tree.escape == "`"
    assert tree.directives == (("escape", "`"), ("syntax", "docker/dockerfile:1 more"))
    assert tree.empty_lines == ((Position("B", 5), ((5, "\n"),), 6),)


def test_comments_stand_with_the_instruction_below() -> None:
    tree = parse_text("# a\n\n#  b \n# check=skip=X\nFROM a\n#\n# c\n#\nRUN x \\\n# d\n  y\n", "B")
    assert tree.comments == ((5, ("b", "check=skip=X")),)
    (head, _) = tree.instructions
    assert isinstance(head, syntax.From)
    assert head.doc == "b"


def test_text_and_bytes_are_one() -> None:
    assert parse_text("FROM ä", "B") == parse_text("FROM ä".encode(), "B")
    node = parse_text(b"FROM \xff", "B").instructions[0]
    assert isinstance(node, syntax.From)
    assert node.image.text.encode("utf-8", "surrogateescape") == b"\xff"


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "Buildfile"
    path.write_bytes(b"FROM a")
    assert parse_file(str(path), name="Buildfile") == parse_text("FROM a", "Buildfile")
    assert parse_file(str(path)).path == str(path)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(BuildfileError) as caught:
        parse_file(os.path.join(tmp_path, name), name=name)
    assert caught.value.at == name


def test_a_large_file_with_every_form() -> None:
    part = (
        "FROM a AS s{n}\nRUN --mount=type=cache,target=/x a \\\n  && b\nCOPY <<E /x\n  text $x\nE\n"
        "ENV a=1 b='2 3'\nARG x=1\nCMD [\"a\"]\nONBUILD RUN x"
    )
    tree = parse_text("\n".join(part.replace("{n}", str(number)) for number in range(100)), "B")
    assert len(tree.instructions) == 700
    assert tree.instructions[-1].position.line == 1000
    assert tree.instructions[-1].line_end == 1000


@pytest.mark.parametrize(
    "line",
    [
        "ENV " + "\\\\" * 15000,
        "ENV " + "\\\\" * 15000 + "=x y",
        "ENV " + "'a'" * 9000,
        "ENV a=b " + '"' * 20000 + " c",
        "LABEL " + '"\\' * 9000,
        "RUN --mount=" + "\\'" * 15000 + " x",
        "CMD [" + '"a",' * 15000,
        'CMD ["' + "\\" * 30000,
        "CMD " + "[" * 30000,
        "FROM " + "a" * 60000 + " AS " + "b" * 100,
    ],
)
@pytest.mark.timeout(20)
def test_no_line_explodes(line: str) -> None:
    # An expression that backtracks exponentially would not come back at all.
    try:
        parse_text(line, "B")
    except BuildfileError:
        return


PIECES = (
    *("FROM", "RUN", "COPY", "ENV", "ARG", "CMD", "ONBUILD", "HEALTHCHECK", "NONE", "AS", "SHELL", "EXPOSE"),
    *("--", "--from=a", "--mount=", "--link", "[", "]", '"', "'", "\\", "`", "<<E", "<<-E", "E", "#", "# escape=`\n"),
    *("=", "b=c", "$", "{", "\r", "\0", "\v", "é", "\u2028", "\ufeff", '["a"]', '["a",1]', "\n", "\n", " ", " "),
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_any_text_parses_or_is_refused_with_a_place(text: str) -> None:
    try:
        tree = parse_text("FROM a\n" + text, "B")
    except BuildfileSyntaxError as refusal:
        problem = refusal
    else:
        assert tree.instructions
        return
    assert isinstance(problem.at, Position)
    assert problem.message


def test_a_cached_parse_loads_neither_lark_nor_re(tmp_path: Path) -> None:
    path = tmp_path / "Buildfile"
    path.write_text("FROM a\nRUN x\n")
    parse_file(str(path), cache_dir=str(tmp_path / "cache"))
    program = (
        "import sys; from buildkit_py.frontend.buildfile.parse import parse_file\n"
        f"tree = parse_file({str(path)!r}, cache_dir={str(tmp_path / 'cache')!r})\n"
        "assert len(tree.instructions) == 2\n"
        "heavy = {'re', 'typing', 'lark', 'json', 'enum', 'pathlib', 'importlib.resources'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-S", "-c", program], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))}
    )
