"""The tables that Lark makes of the grammar, and their interpreter: reading a Buildfile does not load Lark.

Lark is 33 ms of imports, more than all the rest of a build with little to do.
What it makes of an LALR grammar is plain data: which terminals may come in
each state, what to do at each, and how a rule's children become a node. Only
a text that these tables refuse is given to Lark, to say what is wrong with it.

The tables of the grammar itself come with it, in a file that says what they
were made of; those for another escape character are kept by whoever asks for
them. A damaged file counts as absent. `tests/frontend/buildfile/test_tables.py`
holds the interpreter against Lark's own.
"""

from __future__ import annotations

import marshal
import os

from buildkit_py.digest import blake3_hex, key_of
from buildkit_py.frontend.buildfile.expressions import Expressions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    from lark import Lark

    # What to do at a terminal, or where to go with a rule's name: (True, next state) or (False, rule to reduce by).
    Action: TypeAlias = tuple[bool, int]
    # Its name, for each of its symbols what becomes of it, and whether a single child stands for itself.
    Rule: TypeAlias = tuple[str, tuple[int, ...], bool]

# Raised whenever the layout of the file changes.
FORMAT = 2
# Of plain data; every Python that this runs on reads and writes it.
_MARSHAL = 4
_DROP, _KEEP, _SPLICE = 0, 1, 2
_END = "$END"


class Token(str):
    """A terminal's text with its type and place (both from 1)."""

    __slots__ = ("column", "line", "type")

    type: str
    line: int
    column: int


class Tree:
    """A rule's node."""

    __slots__ = ("children", "data")

    def __init__(self, data: str, children: list[Tree | Token]) -> None:
        self.data = data
        self.children = children


class Tables:
    """What the interpreter needs. `patterns` has an expression for each state, of alternatives named by terminals."""

    def __init__(
        self,
        start: int,
        end: int,
        actions: dict[int, dict[str, Action]],
        patterns: dict[int, str],
        rules: tuple[Rule, ...],
        ignored: tuple[str, ...],
    ) -> None:
        self.start = start
        self.end = end
        self.actions = actions
        self.patterns = patterns
        self.rules = rules
        self.ignored = ignored
        self.expressions = Expressions()

    def parse(self, text: str, seen: list[Token] | None = None) -> Tree | None:
        """The tree of a text; None if it is not of the language. `seen` collects all terminals, dropped ones too."""
        states = [self.start]
        values: list[Tree | Token] = []
        for token in self._tokens(text, states):
            if token is None:
                return None
            while states[-1] != self.end:
                action = self.actions[states[-1]].get(token.type)
                if action is None:
                    return None
                shift, number = action
                if shift:
                    states.append(number)
                    values.append(token)
                    if seen is not None:
                        seen.append(token)
                    break
                self._reduce(self.rules[number], states, values)
        top = values[-1]
        return top if isinstance(top, Tree) else None

    def _tokens(self, text: str, states: list[int]) -> Iterator[Token | None]:
        """The terminals of a text, each found among those that may come in the state of that moment; then the end.

        None where there is none of them.
        """
        at, line, begin = 0, 1, 0
        compiled = self.expressions.compiled
        while at < len(text):
            found = compiled(self.patterns[states[-1]]).match(text, at)
            if found is None:
                yield None
                return
            kind, value = found.lastgroup or "", found.group()
            if kind not in self.ignored:
                yield _token(kind, value, line, at - begin + 1)
            at = found.end()
            if "\n" in value:
                line += value.count("\n")
                begin = at - len(value) + value.rindex("\n") + 1
        yield _token(_END, "", line, at - begin + 1)

    def _reduce(self, rule: Rule, states: list[int], values: list[Tree | Token]) -> None:
        name, fates, alone = rule
        children: list[Tree | Token] = []
        first = len(values) - len(fates)
        for fate, value in zip(fates, values[first:], strict=True):
            if fate == _SPLICE and isinstance(value, Tree):
                children += value.children
            elif fate != _DROP:
                children.append(value)
        del values[first:], states[first + 1 :]
        values.append(children[0] if alone and len(children) == 1 else Tree(name, children))
        states.append(self.actions[states[-1]][name][1])


def _token(kind: str, text: str, line: int, column: int) -> Token:
    token = Token(text)
    token.type, token.line, token.column = kind, line, column
    return token


def extract(made: Lark) -> Tables:
    """The tables of a parser that Lark made, as its own contextual lexer and tree builder use them."""
    parser: Any = made.parser
    table, lexers = parser.parser._parse_table, parser.lexer.lexers
    numbers = {rule: number for number, rule in enumerate(made.rules)}
    actions = {
        state: {
            symbol: (False, numbers[argument]) if action.name == "Reduce" else (True, argument)
            for symbol, (action, argument) in row.items()
        }
        for state, row in table.states.items()
    }
    # Few of them differ, and `marshal` writes one text once.
    known: dict[str, str] = {}
    patterns = {
        state: known.setdefault(pattern, pattern)
        for state, lexer in lexers.items()
        for pattern in ["|".join([f"(?P<{one.name}>{one.pattern.to_regexp()})" for one in lexer.terminals])]
    }
    rules = tuple([(str(rule.origin.name), _fates(rule), bool(rule.options.expand1)) for rule in made.rules])
    ignored = tuple(sorted({name for lexer in lexers.values() for name in lexer.ignore_types}))
    return Tables(table.start_states["start"], table.end_states["start"], actions, patterns, rules, ignored)


def _fates(rule: Any) -> tuple[int, ...]:
    """What becomes of each symbol of a rule: see "Shaping the tree" in Lark's documentation."""
    return tuple(
        [
            (_DROP if symbol.filter_out else _KEEP) if symbol.is_term else _SPLICE if symbol.name[0] == "_" else _KEEP
            for symbol in rule.expansion
        ]
    )


def key(grammar: str) -> str:
    """What the tables of a grammar are known by."""
    return key_of("parser tables", FORMAT, grammar)


def path_of(directory: str, grammar: str) -> str:
    """Where the tables of a grammar are kept."""
    return os.path.join(directory, f"tables-{key(grammar)}")


def dump(tables: Tables, grammar: str) -> bytes:
    """The tables of a grammar as bytes."""
    whole = (tables.start, tables.end, tables.actions, tables.patterns, tables.rules, tables.ignored)
    body = key(grammar).encode() + marshal.dumps(whole, _MARSHAL)
    return blake3_hex(body).encode() + body


def undump(data: bytes, grammar: str) -> Tables | None:
    """The tables in `dump`'s bytes; None for damaged ones, or those of another grammar."""
    seal, name, body = data[:64], data[64:128], data[128:]
    try:
        if name != key(grammar).encode() or blake3_hex(data[64:]).encode() != seal:
            return None
        return Tables(*marshal.loads(body))
    except (EOFError, ValueError, TypeError):
        return None


def load(path: str, grammar: str) -> Tables | None:
    """The tables of a grammar in a file; None if there are none that are whole."""
    try:
        with open(path, "rb") as file:
            return undump(file.read(), grammar)
    except OSError:
        return None


def save(tables: Tables, path: str, grammar: str) -> None:
    """Write them beside, then rename; a full or read-only disk only costs the time next time."""
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(dump(tables, grammar))
        os.replace(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
