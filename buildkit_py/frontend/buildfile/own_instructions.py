"""From the tree of one of the Buildfile's own words to its typed record; blocks take their instructions along."""

from __future__ import annotations

from buildkit_py.frontend.buildfile import own_words
from buildkit_py.frontend.buildfile.syntax import Command, Pair
from buildkit_py.frontend.buildfile.tables import Token, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from buildkit_py.frontend.buildfile.instructions import Node
    from buildkit_py.frontend.buildfile.own_words import Branch, Condition, OwnWord
    from buildkit_py.frontend.buildfile.syntax import Instruction

    Build: TypeAlias = Callable[[Tree], Instruction]
    Open: TypeAlias = Callable[[Tree], Node]


def own_word(tree: Tree, open_node: Open, build: Build) -> OwnWord:
    """The record. `open_node` reads the tokens of a line, `build` makes the instructions of a body.

    Raises `BuildfileSyntaxError` for what the grammar could not see.
    """
    match tree.data:
        case "if":
            return _if(tree, open_node, build)
        case "for":
            return _for(tree, open_node, build)
        case "function":
            return _function(tree, open_node, build)
    node = open_node(tree)
    place, line_end, text = node.position, node.line.line_end, node.text
    match tree.data:
        case "include":
            path = node.word(node.tokens[0])
            if path.text.startswith("--"):
                raise node.fail("INCLUDE takes its path first", node.tokens[0], hint="write `INCLUDE PATH --as NAME`")
            name = node.tokens[2].lower() if len(node.tokens) == 3 else ""
            return own_words.Include(path, name, place, line_end, "INCLUDE", text)
        case "do":
            function = node.word(node.tokens[0])
            return own_words.Do(function, _arguments(node), place, line_end, "DO", text)
        case "let":
            return _let(node)
        case "output":
            words, _ = node.words()
            if not 1 <= len(words) <= 2 or not all(word.text for word in words):
                raise node.fail("OUTPUT takes a path and where it goes", node.tokens[0])
            dest = words[1] if len(words) == 2 else None
            return own_words.Output(words[0], dest, place, line_end, "OUTPUT", text)
        case "service":
            name, _, image = node.tokens
            name = str(name) if "$" in name else name.lower()
            flags = node.flags()
            return own_words.Service(name, node.word(image), flags, place, line_end, node.doc(name), "SERVICE", text)
        case "tag":
            names = tuple(node.word(token) for token in node.tokens)
            return own_words.Tag(names, place, line_end, "TAG", text)
        case _:
            command = node.command(node.tokens)
            if command.argv == () or command.shell == "":
                raise node.fail("TEST needs a command", node.head)
            return own_words.Test(command, node.flags(), node.heredocs(), place, line_end, "TEST", text)


def _let(node: Node) -> own_words.Let:
    name, captured = node.tokens
    inside = captured[2:-1]
    shell = inside.strip()
    if not shell:
        raise node.fail("LET needs a command between the brackets", captured)
    begin = captured.column + 1 + len(inside) - len(inside.lstrip())
    command = Command(shell, None, node.source.position(node.line, begin))
    return own_words.Let(str(name), command, node.position, node.line.line_end, "LET", node.text)


def _arguments(node: Node) -> tuple[Pair, ...]:
    """`--name=value` of DO, each name once."""
    found: list[Pair] = []
    for token in node.flag_tokens:
        name, equals, value = token[2:].partition("=")
        if not name.isidentifier() or not name.isascii():
            raise node.fail(f"`{token}` names no argument", token, hint="write `--NAME=value`")
        if not equals:
            raise node.fail(f"`--{name}` lacks a value", token, hint=f"write `--{name}=…`")
        if any(pair.key == name for pair in found):
            raise node.fail(f"`--{name}` is given twice", token)
        found.append(Pair(name, value, node.place(token)))
    return tuple(found)


# Blocks


def _function(tree: Tree, open_node: Open, build: Build) -> own_words.Function:
    node, end = open_node(tree), _end(tree, open_node)
    body = _body(tree, build)
    name = node.tokens[0].lower()
    return own_words.Function(name, body, node.position, end, node.doc(name), "FUNCTION", node.text)


def _for(tree: Tree, open_node: Open, build: Build) -> own_words.For:
    node, end = open_node(tree), _end(tree, open_node)
    words = tuple(node.word(token) for token in node.tokens if token.type == "NAME_OR_PAIR")
    return own_words.For(str(node.tokens[0]), words, _body(tree, build), node.position, end, "FOR", node.text)


def _if(tree: Tree, open_node: Open, build: Build) -> own_words.If:
    branches: list[Branch] = []
    for child in tree.children:
        if isinstance(child, Tree):
            node = open_node(child)
            condition = None if child.data == "else_branch" else _condition(_trees(child)[0], node)
            body = _body(child, build, skip=0 if condition is None else 1)
            branches.append(own_words.Branch(condition, body, node.position, node.keyword, node.text))
    first = branches[0]
    return own_words.If(tuple(branches), first.position, _end(tree, open_node), "IF", first.source)


def _trees(tree: Tree) -> list[Tree]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _body(tree: Tree, build: Build, *, skip: int = 0) -> tuple[Instruction, ...]:
    return tuple([build(child) for child in _trees(tree)[skip:]])


def _end(tree: Tree, open_node: Open) -> int:
    """The line of a block's END, its last token."""
    return open_node(Tree("end", tree.children[-1:])).line.line_end


def _condition(tree: Tree, node: Node) -> Condition:
    """A condition, all of whose tokens stand on the line of `node`."""
    at = node.place(_first(tree))
    match tree.data:
        case "either":
            return own_words.Some(tuple([_condition(part, node) for part in _trees(tree)]), at)
        case "both":
            return own_words.All(tuple([_condition(part, node) for part in _trees(tree)]), at)
        case "negation":
            return own_words.Not(_condition(_trees(tree)[0], node), at)
    tokens = [token for token in tree.children if isinstance(token, Token)]
    if tree.data == "defined":
        return own_words.Defined(str(tokens[1]), node.place(tokens[1]))
    left, operator, right = tokens
    return own_words.Compare(operator.lower(), node.word(left), node.word(right), at)


def _first(tree: Tree) -> Token:
    child = tree.children[0]
    return child if isinstance(child, Token) else _first(child)
