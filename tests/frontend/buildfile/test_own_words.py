"""The trees of the Buildfile's own words, and what is said of those that are wrong."""

from __future__ import annotations

import pytest

from buildkit_py.errors import BuildfileSyntaxError
from buildkit_py.frontend.buildfile import own_words, syntax
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.source_map import Position


def nodes(text: str) -> tuple[syntax.Instruction, ...]:
    return parse_text(text, "Buildfile").instructions


def one(text: str) -> syntax.Instruction:
    (node,) = nodes(text)
    return node


def condition(text: str) -> own_words.Condition:
    node = one(f"IF {text}\nEND")
    assert isinstance(node, own_words.If)
    found = node.branches[0].condition
    assert found is not None
    return found


def shown(found: own_words.Condition) -> str:
    """A condition with every bracket."""
    match found:
        case own_words.Compare(operator, left, right):
            return f"({left.text} {operator} {right.text})"
        case own_words.Defined(name):
            return f"defined {name}"
        case own_words.Not(part):
            return f"not {shown(part)}"
        case own_words.All(parts):
            return f"({' and '.join(map(shown, parts))})"
        case own_words.Some(parts):
            return f"({' or '.join(map(shown, parts))})"


def test_include() -> None:
    plain, named = nodes("INCLUDE base.Buildfile\ninclude lib/x --as Lib")
    assert isinstance(plain, own_words.Include)
    assert isinstance(named, own_words.Include)
    assert (plain.path.text, plain.name) == ("base.Buildfile", "")
    assert (named.path.text, named.name, named.keyword) == ("lib/x", "lib", "INCLUDE")
    assert named.path.position == Position("Buildfile", 2, 9)


def test_function_and_do() -> None:
    function, do = nodes('# installs\nFUNCTION Apt\nARG packages\nRUN x\nEND\nDO lib.apt --packages="a b" --v=$X')
    assert isinstance(function, own_words.Function)
    assert isinstance(do, own_words.Do)
    assert (function.name, function.doc, function.position.line, function.line_end) == ("apt", "installs", 2, 5)
    assert [node.keyword for node in function.body] == ["ARG", "RUN"]
    assert do.function.text == "lib.apt"
    assert [(pair.key, pair.value, pair.position.column) for pair in do.arguments] == [
        ("packages", '"a b"', 12),
        ("v", "$X", 29),
    ]


def test_if() -> None:
    node = one("IF $a == 1\nRUN a\nELIF not defined b\nRUN b\nRUN c\nELSE\nEND")
    assert isinstance(node, own_words.If)
    assert [(branch.keyword, len(branch.body), branch.position.line) for branch in node.branches] == [
        ("IF", 1, 1),
        ("ELIF", 2, 3),
        ("ELSE", 0, 6),
    ]
    assert node.branches[2].condition is None
    assert node.line_end == 7


def test_blocks_nest() -> None:
    outer = one("FOR a IN 1\nFOR b IN 2\nIF x == y\nRUN x\nEND\nEND\nEND")
    assert isinstance(outer, own_words.For)
    (inner,) = outer.body
    assert isinstance(inner, own_words.For)
    (test,) = inner.body
    assert isinstance(test, own_words.If)
    assert (outer.line_end, inner.line_end, test.line_end) == (7, 6, 5)


def test_for_words_keep_their_quotes() -> None:
    node = one("for v in 3.11 \"a b\" $list 'c d'\nend")
    assert isinstance(node, own_words.For)
    assert node.variable == "v"
    assert [word.text for word in node.words] == ["3.11", '"a b"', "$list", "'c d'"]


def test_let() -> None:
    node = one("LET version=$( git describe --tags | sed 's/(x)//' )")
    assert isinstance(node, own_words.Let)
    assert (node.name, node.command.shell) == ("version", "git describe --tags | sed 's/(x)//'")
    assert node.command.position == Position("Buildfile", 1, 16)


def test_let_over_two_lines() -> None:
    node = one("LET v = \\\n  $(echo a \\\n   b)")
    assert isinstance(node, own_words.Let)
    assert node.command.shell == "echo a    b"
    assert node.command.position == Position("Buildfile", 2, 5)


def test_output_and_tag() -> None:
    short, both, spaces, tag = nodes('OUTPUT /a\nOUTPUT dist/*.whl out/\nOUTPUT ["a b", "c"]\nTAG shop:dev r/shop:$V')
    assert isinstance(short, own_words.Output)
    assert short.dest is None
    assert isinstance(both, own_words.Output)
    assert (both.path.text, both.dest.text if both.dest else "") == ("dist/*.whl", "out/")
    assert isinstance(spaces, own_words.Output)
    assert spaces.path.text == "a b"
    assert isinstance(tag, own_words.Tag)
    assert [name.text for name in tag.names] == ["shop:dev", "r/shop:$V"]


def test_test() -> None:
    shell, argv, script = nodes(
        'TEST --name=unit --network=none make check\nTEST ["a", "b"]\nTEST <<EOF\nEND\nEOF\nRUN x'
    )[:3]
    assert isinstance(shell, own_words.Test)
    assert [(flag.name, flag.value) for flag in shell.flags] == [("name", "unit"), ("network", "none")]
    assert shell.command.shell == "make check"
    assert isinstance(argv, own_words.Test)
    assert argv.command.argv == ("a", "b")
    assert isinstance(script, own_words.Test)
    assert script.heredocs[0].body == "END\n"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("$a == b", "($a == b)"),
        ("$a==b", "($a == b)"),
        ("$a!='x y'", "($a != 'x y')"),
        ("$a IN 'x y'", "($a in 'x y')"),
        ('$a matches "3.*"', '($a matches "3.*")'),
        ('${a:-(b)} == ""', '(${a:-(b)} == "")'),
        ("not defined A", "not defined A"),
        ("NOT not a == b", "not not (a == b)"),
        ("a == b or c == d and e == f", "((a == b) or ((c == d) and (e == f)))"),
        ("(a == b or c == d) and not (e == f)", "(((a == b) or (c == d)) and not (e == f))"),
        ("a == b and c == d and e == f", "((a == b) and (c == d) and (e == f))"),
        ("a == 'and' or \"in\" == in", "((a == 'and') or (\"in\" == in))"),
        ("a!b == c", "(a!b == c)"),
        ("x\\ y == $x", "(x\\ y == $x)"),
    ],
)
def test_conditions(text: str, tree: str) -> None:
    assert shown(condition(text)) == tree


def test_a_bracket_may_touch_the_keyword() -> None:
    assert shown(condition("(a == b)")) == "(a == b)"
    node = one("IF(a == b)\nEND")
    assert isinstance(node, own_words.If)
    assert node.branches[0].source == "IF(a == b)"


def test_words_of_blocks_inside_heredocs_and_continued_lines_stay_text() -> None:
    found = nodes("FROM a\nRUN <<EOF\nif true\nEND\nEOF\nRUN a && \\\n  for x in a; do \\\nend; \\\ndone\nENV IF=1")
    assert [node.keyword for node in found] == ["FROM", "RUN", "RUN", "ENV"]


BROKEN = [
    ("IF $x\nEND", "1:6: IF expects `==`, `!=`, `in` or `matches`, but the line ends", "usage: IF CONDITION"),
    ("IF a = b\nEND", "1:6: IF expects `==`, `!=`, `in` or `matches`, not `=`", "did you mean `==`?"),
    ("IF a == b c\nEND", "1:11: IF expects `and`, `or` or the end of the line, not `c`", "usage: IF"),
    ("IF (a == b\nEND", "1:11: IF expects `)`, but the line ends", "usage: IF"),
    ("IF a == b or\nEND", "1:13: IF expects a condition, but the line ends", "usage: IF"),
    ('IF "a == b\nEND', '1:4: IF expects a condition, not `"a`', "usage: IF"),
    ("FROM a\nIF a == b\nRUN x", "2:1: this IF has no END", "end it with a line that is `END`"),
    ("FROM a\nif(a == b)\nRUN x", "2:1: this IF has no END", "end it with"),
    ("FOR a IN b\nIF a == b\nEND", "1:1: this FOR has no END", "end it with"),
    ("FUNCTION f\nRUN x", "1:1: this FUNCTION has no END", "end it with"),
    ("FROM a\nRUN set -e\nfor x in a; do\nRUN x", "3:1: this FOR has no END", "if it belongs to the command above"),
    ("END", "1:1: END stands outside a block", "remove it, or begin a block above"),
    ("ELSE", "1:1: ELSE stands outside a block", "usage: IF"),
    ("IF a == b\nELSE\nELIF a == b\nEND", "3:1: ELIF comes after the ELSE of the IF of line 1", "ELSE is its last"),
    ("IF a == b\nELSE\nELSE\nEND", "3:1: ELSE comes after the ELSE of the IF of line 1", "ELSE is its last branch"),
    ("FOR x IN a\nELSE\nEND", "2:1: ELSE belongs to an IF, but line 1 opened a FOR", "end that with `END` first"),
    ("IF a == b\nEND x", "2:5: END expects the end of the line, not `x`", ""),
    ("IF a == b\nELSE x\nEND", "2:6: ELSE expects the end of the line, not `x`", "usage: IF"),
    ("FOR x\nEND", "1:6: FOR expects `IN`, but the line ends", "usage: FOR NAME IN WORD ..."),
    ("FOR x IN\nEND", "1:9: FOR expects a word, but the line ends", "usage: FOR NAME IN WORD ..."),
    ("FOR 1x IN a\nEND", "1:5: FOR expects a name, not `1x`", "usage: FOR NAME IN WORD ..."),
    ("FUNCTION\nEND", "1:9: FUNCTION expects a name, but the line ends", "usage: FUNCTION NAME"),
    ("FUNCTION 1\nEND", "1:10: `1` cannot be the name of a stage", "a name begins with a letter"),
    ("FOR x IN a\nFUNCTION f\nEND\nEND", "2:1: a FUNCTION cannot stand inside another block", "end the FOR above"),
    ("DO", "1:3: DO expects the name of a function, but the line ends", "usage: DO FUNCTION [--NAME=VALUE ...]"),
    ("DO f x", "1:6: DO expects `--NAME=VALUE` or the end of the line, not `x`", "usage: DO FUNCTION"),
    ("DO f --x", "1:6: `--x` lacks a value", "write `--x=…`"),
    ("DO f --1x=1", "1:6: `--1x=1` names no argument", "write `--NAME=value`"),
    ("DO f --x=1 --x=2", "1:12: `--x` is given twice", ""),
    ("INCLUDE", "1:8: INCLUDE expects the path of a Buildfile, but the line ends", "usage: INCLUDE PATH [--as NAME]"),
    ("INCLUDE a b", "1:11: INCLUDE expects `--as NAME` or the end of the line, not `b`", "usage: INCLUDE"),
    ("INCLUDE --as", "1:9: INCLUDE takes its path first", "write `INCLUDE PATH --as NAME`"),
    ("INCLUDE a --as 1", "1:16: `1` cannot be the name of a stage", "a name begins with a letter"),
    ("LET x", "1:6: LET expects `=`, but the line ends", "usage: LET NAME = $(COMMAND)"),
    ("LET x = 3", "1:9: LET expects `$(COMMAND)`, not `3`", "usage: LET NAME = $(COMMAND)"),
    ("LET x = $(", "1:9: LET expects `$(COMMAND)`, not `$(`", "usage: LET NAME = $(COMMAND)"),
    ("LET x = $( )", "1:9: LET needs a command between the brackets", ""),
    ("OUTPUT", "1:7: OUTPUT expects a path or a JSON array of strings, but the line ends", "usage: OUTPUT PATH"),
    ("OUTPUT a b c", "1:12: OUTPUT expects the end of the line, not `c`", "usage: OUTPUT PATH [DESTINATION]"),
    ('OUTPUT ["a", "b", "c"]', "1:8: OUTPUT takes a path and where it goes", ""),
    ("TAG", "1:4: TAG expects a name, but the line ends", "usage: TAG NAME[:TAG] ..."),
    ("TEST", "1:1: TEST needs a command", ""),
    ("TEST []", "1:1: TEST needs a command", ""),
    ("TEST --nam=x y", "1:6: TEST has no flag `--nam`", "did you mean `--name`?"),
    ("TEST --network=foo x", "1:6: `--network` cannot be `foo`", "it is one of default, none, host"),
    ("FROM a\nONBUILD IF a == b", "2:9: IF cannot be an ONBUILD trigger", ""),
    ("FROM a\nONBUILD TEST x", "2:9: TEST cannot be an ONBUILD trigger", ""),
    ("SERVICE", "1:8: SERVICE expects a name, but the line ends", "usage: SERVICE NAME FROM IMAGE [FLAGS]"),
    ("SERVICE 1 FROM x", "1:9: `1` cannot be the name of a service", "a name begins with a letter"),
    ("SERVICE db x", "1:12: SERVICE expects `FROM`, not `x`", "usage: SERVICE"),
    ("SERVICE db FROM", "1:16: SERVICE expects an image, but the line ends", "usage: SERVICE"),
    ("SERVICE db FROM x y", "1:19: SERVICE expects a flag or the end of the line, not `y`", "usage: SERVICE"),
    ("SERVICE db --port=1 FROM x", "1:12: SERVICE expects `FROM`, not `--port=1`", "usage: SERVICE"),
    ("SERVICE db FROM x --prot=1", "1:19: SERVICE has no flag `--prot`", "did you mean `--port`?"),
    ("SERVICE db FROM x --port=1 --port=2", "1:28: `--port` is given twice", ""),
    ("SERVICE db FROM x --seed", "1:19: `--seed` lacks a value", "write `--seed=…`"),
    ("FROM a\nONBUILD SERVICE db FROM x", "2:9: SERVICE cannot be an ONBUILD trigger", ""),
    ("INCLUD x", "1:1: unknown instruction `INCLUD`", "did you mean `INCLUDE`?"),
]


@pytest.mark.parametrize(("text", "message", "hint"), BROKEN)
def test_what_is_wrong_is_said(text: str, message: str, hint: str) -> None:
    with pytest.raises(BuildfileSyntaxError) as caught:
        parse_text(text, "Buildfile")
    assert str(caught.value).startswith(f"Buildfile:{message}")
    assert caught.value.excerpt
    assert caught.value.hint.startswith(hint) or hint in caught.value.hint
    assert bool(caught.value.hint) == bool(hint)
