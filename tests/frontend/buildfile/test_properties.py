"""Parsing held against what was printed, and expansion against a model that is small enough to be read at a glance."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile import syntax
from buildkit_py.frontend.buildfile.canonical.file import canonical, same
from buildkit_py.frontend.buildfile.expand import expand, expansion
from buildkit_py.frontend.buildfile.flags import read, unquote
from buildkit_py.frontend.buildfile.json_form import parse_array
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.source_map import Position

PLACE = Position("B", 1)

# ---- parse, print, parse

# What begins with two hyphens is a flag, or ends them.
PLAIN = st.text("abz09._-/:@$é", min_size=1, max_size=8).filter(lambda word: not word.startswith("--"))
NAME = st.from_regex(r"[A-Z_][A-Z0-9_]{0,6}", fullmatch=True)
STAGE = st.from_regex(r"[a-z][a-z0-9_.\-]{0,6}", fullmatch=True)
QUOTED = st.text("ab =#$\\'\"é[", max_size=8)
# White space between words: what it is must not matter.
GAP = st.sampled_from([" ", "  ", "\t", " \\\n", " \\\n  # a comment\n    ", " \\\n\n\t"])
COMMAND = (
    st.text("ab |&;$'\"{}=-é<>", min_size=1, max_size=20).map(str.strip).filter(lambda text: text[:1] not in ("", "-"))
)


def spelled(value: str) -> str:
    """A value in double quotes, as an ENV writes it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


@dataclass(frozen=True)
class Printed:
    """A line, and what its tree must say: the type and some of its fields, all texts."""

    text: str
    kind: type
    says: dict[str, object]


@st.composite
def words(draw: st.DrawFn) -> Printed:
    keyword, kind, field = draw(
        st.sampled_from(
            [
                ("EXPOSE", syntax.Expose, "ports"),
                ("VOLUME", syntax.Volume, "paths"),
            ]
        )
    )
    values = draw(st.lists(PLAIN, min_size=1, max_size=4))
    text = cased(draw, keyword) + "".join(draw(GAP) + value for value in values)
    return Printed(text, kind, {field: tuple(values)})


@st.composite
def transfers(draw: st.DrawFn) -> Printed:
    keyword = draw(st.sampled_from(["COPY", "ADD"]))
    values = draw(st.lists(PLAIN, min_size=2, max_size=4))
    flags = draw(st.lists(st.sampled_from(["--link", "--chown=1:2", "--exclude=*.o", "--exclude=x"]), max_size=3))
    flags = list(dict.fromkeys(flags))
    rest = draw(GAP) + json.dumps(values) if draw(st.booleans()) else "".join(draw(GAP) + value for value in values)
    text = cased(draw, keyword) + "".join(draw(GAP) + flag for flag in flags) + rest
    return Printed(text, syntax.Transfer, {"sources": tuple(values[:-1]), "dest": values[-1], "flags": tuple(flags)})


@st.composite
def pairs(draw: st.DrawFn) -> Printed:
    keyword, kind = draw(st.sampled_from([("ENV", syntax.Env), ("LABEL", syntax.Label)]))
    values = draw(st.lists(st.tuples(NAME, QUOTED), min_size=1, max_size=3))
    text = cased(draw, keyword) + "".join(f"{draw(GAP)}{name}={spelled(value)}" for name, value in values)
    return Printed(text, kind, {"pairs": tuple((name, spelled(value)) for name, value in values)})


@st.composite
def commands(draw: st.DrawFn) -> Printed:
    keyword, kind = draw(
        st.sampled_from([("RUN", syntax.RunStep), ("CMD", syntax.Cmd), ("ENTRYPOINT", syntax.Entrypoint)])
    )
    head = cased(draw, keyword) + draw(GAP)
    if draw(st.booleans()):
        argv = draw(st.lists(st.text(max_size=6), max_size=3))
        return Printed(head + json.dumps(argv), kind, {"argv": tuple(clean(word) for word in argv)})
    command = draw(COMMAND.filter(lambda text: "<<" not in text and not text.endswith("\\")))
    return Printed(head + command, kind, {"shell": command})


@st.composite
def froms(draw: st.DrawFn) -> Printed:
    image, name = draw(PLAIN), draw(st.none() | STAGE)
    text = cased(draw, "FROM") + draw(GAP) + image
    if name is not None:
        text += draw(GAP) + draw(st.sampled_from(["AS", "as", "As"])) + draw(GAP) + name
    return Printed(text, syntax.From, {"image": image, "name": name or ""})


def cased(draw: st.DrawFn, keyword: str) -> str:
    return draw(st.sampled_from([keyword, keyword.lower(), keyword.title()]))


def clean(word: str) -> str:
    return word.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def said(node: syntax.Instruction, field: str) -> object:
    """A field of a node in the terms of `Printed`."""
    if field in ("argv", "shell"):
        return getattr(node.command, field)  # type: ignore[union-attr]
    value = getattr(node, field)
    if field == "flags":
        return tuple(f"--{flag.name}" + (f"={flag.value}" if flag.value is not None else "") for flag in value)
    if field == "pairs":
        return tuple((pair.key, pair.value) for pair in value)
    if isinstance(value, tuple):
        return tuple(word.text for word in value)
    return value.text if isinstance(value, syntax.Word) else value


LINES = st.one_of(words(), transfers(), pairs(), commands(), froms())


@settings(deadline=None)
@given(st.lists(LINES, min_size=1, max_size=6))
def test_what_was_printed_is_parsed_and_printed_again(lines: list[Printed]) -> None:
    text = "FROM first\n" + "".join(line.text + "\n" for line in lines)
    tree = parse_text(text, "B")
    assert len(tree.instructions) == len(lines) + 1
    for line, node in zip(lines, tree.instructions[1:], strict=True):
        assert isinstance(node, line.kind)
        for field, value in line.says.items():
            assert said(node, field) == value
    printed = canonical(text.encode(), "B")
    assert same(tree, parse_text(printed, "B"))
    assert canonical(printed, "B") == printed


# ---- flags


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text("ab,=:/ é\"'\\`", max_size=8), st.sampled_from(["bare", "single", "double"])), max_size=4
    )
)
@pytest.mark.parametrize("escape", ["\\", "`"])
def test_a_flag_has_the_value_that_was_quoted(escape: str, parts: list[tuple[str, str]]) -> None:
    written = ""
    for text, way in parts:
        match way:
            case "bare":
                written += "".join(escape + ch if ch in f"'\"{escape} " else ch for ch in text)
            case "'":
                written += "'" + "".join(escape + ch if ch in f"'{escape}" else ch for ch in text) + "'"
            case _:
                written += '"' + "".join(escape + ch if ch in f'"{escape}' else ch for ch in text) + '"'
    value = "".join(text for text, _ in parts)
    assert unquote(written, escape) == value
    flag = read("COPY", f"--exclude={written}", PLACE, escape=escape, seen=set(), fail=_no_failure)
    assert (flag.name, flag.value) == ("exclude", value)


def _no_failure(message: str, width: int, hint: str) -> BuildfileError:
    raise AssertionError(message)


# ---- the JSON form


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), max_size=4), st.booleans(), st.sampled_from([",", ", ", " ,\t"]))
def test_every_array_of_strings_is_read_back(items: list[str], ascii_only: bool, comma: str) -> None:
    text = json.dumps(items, ensure_ascii=ascii_only, separators=(comma, ":"))
    assert parse_array(text) == tuple(clean(item) for item in items)


@settings(deadline=None)
@given(st.text('[]",\\ab1 {}:\t', max_size=14).map(lambda text: "[" + text))
def test_only_what_json_takes_is_an_array(text: str) -> None:
    try:
        wanted = json.loads(text)
    except ValueError:
        assert parse_array(text) is None
        return
    if all(isinstance(item, str) for item in wanted):
        assert parse_array(text) == tuple(wanted)
    else:
        with pytest.raises(ValueError, match="only strings"):
            parse_array(text)


# ---- expansion: an expression is printed, and worked out by the few lines of `value_of`


@dataclass(frozen=True)
class Literal:
    text: str
    quotes: str  # "", ' or "


@dataclass(frozen=True)
class Variable:
    name: str
    braces: bool


@dataclass(frozen=True)
class Choice:
    """`${name:-word}` and its kin."""

    name: str
    colon: bool
    operator: str  # - or +
    word: tuple[Literal | Variable | Choice, ...]


Part = Literal | Variable | Choice
VALUES = {"A": "one", "B": "x y", "E": "", "L": "a$b'\"\\c"}
NAMES = st.sampled_from([*VALUES, "U", "NOT_SET"])
LITERALS = st.builds(Literal, st.text("ab $'\"\\{}:-/é", max_size=6), st.sampled_from(["", "'", '"']))
PARTS = st.recursive(
    st.one_of(LITERALS, st.builds(Variable, NAMES, st.booleans())),
    lambda inner: st.builds(
        Choice, NAMES, st.booleans(), st.sampled_from("-+"), st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=8,
)


def printed(part: Part) -> str:
    match part:
        case Literal(text, "'"):
            return "'" + text.replace("'", "'\\''") + "'"
        case Literal(text, '"'):
            return '"' + "".join("\\" + ch if ch in '"$\\' else ch for ch in text) + '"'
        case Literal(text):
            return "".join("\\" + ch for ch in text)
        case Variable(name, braces):
            return f"${{{name}}}" if braces else f"${name}''"
        case Choice(name, colon, operator, word):
            return f"${{{name}{':' * colon}{operator}{''.join(map(printed, word))}}}"


def value_of(part: Part) -> str:
    match part:
        case Literal(text):
            return text
        case Variable(name):
            return VALUES.get(name, "")
        case Choice(name, colon, operator, word):
            there = bool(VALUES.get(name)) if colon else name in VALUES
            if operator == "-":
                return VALUES[name] if there else "".join(map(value_of, word))
            return "".join(map(value_of, word)) if there else ""


def names_of(part: Part) -> set[str]:
    match part:
        case Literal():
            return set()
        case Variable(name):
            return {name}
        case Choice(name, _, _, word):
            return {name}.union(*map(names_of, word))


@settings(deadline=None, max_examples=300)
@given(st.lists(PARTS, max_size=5))
def test_expansion_is_that_of_the_model(parts: list[Part]) -> None:
    word = "".join(map(printed, parts))
    assert expand(word, VALUES.get) == "".join(map(value_of, parts))
    assert set(expansion(word, VALUES.get).used) == set().union(*map(names_of, parts))
