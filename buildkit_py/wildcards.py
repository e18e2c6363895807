"""One path pattern: its tokens, and matching by them.

`*` and `?` stop at `/`, `[a-z]` and `[^x]` are classes, a backslash makes the
next character literal, and where it is asked for `**` goes over slashes.
Nothing here takes more than time linear in the text: names are matched by an
expression that cannot backtrack, whole paths by following all positions at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from re import Pattern
    from typing import Any, NoReturn, TypeAlias

    # (kind, what): a literal's character, a class's (negated, ranges), DEEP's "did it take its slash along"
    Token: TypeAlias = tuple[str, Any]
    State: TypeAlias = frozenset[int]

_LITERAL, _ONE, _STAR, _CLASS = "literal", "?", "*", "["
# `**` in front of something: nothing, or anything that ends with a slash. `**` at the end: anything.
# No component is equal to one of these, since each holds a slash.
DEEP, REST = "**/", "/**"
_SLASH: Token = (_LITERAL, "/")
_REMEMBERED = 50_000


def match(pattern: str, name: str) -> bool:
    """Whether the whole name matches: `*` and `?` (not over a `/`), `[a-z]`, `[^x]`, a backslash escapes.

    Raises `ValueError` for a malformed pattern.
    """
    tokens = parse(pattern, deep=False)
    at = index = 0
    star = retry = -1
    while True:
        if at == len(tokens) and index == len(name):
            return True
        if at < len(tokens):
            token = tokens[at]
            if token[0] == _STAR:
                star, retry = at, index
                at += 1
                continue
            if index < len(name) and _accepts(token, name[index]):
                at += 1
                index += 1
                continue
        # Taking the earliest place for what stands between two stars is never wrong, so only the last star moves.
        if star < 0 or retry >= len(name) or name[retry] == "/":
            return False
        retry += 1
        at, index = star + 1, retry


def components(tokens: list[Token]) -> tuple[Any, ...] | None:
    """What stands between the slashes. None where a `**` is no component of its own or a class may be a slash."""
    parts: list[Any] = []
    current: list[Token] = []
    for token in tokens:
        if token[0] == DEEP or token[0] == REST:
            if current or token[1] is False:
                return None
            parts.append(token[0])
        elif token == _SLASH:
            parts.append(_component(current))
            current = []
        elif token[0] == _CLASS and _accepts(token, "/"):
            return None
        else:
            current.append(token)
    if current or not parts or parts[-1] != REST:
        parts.append(_component(current))
    return tuple(parts)


def _component(tokens: list[Token]) -> Any:
    if any(token[0] != _LITERAL for token in tokens):
        return Glob(tokens)
    return "".join([token[1] for token in tokens])


class Glob:
    """A component with wildcards. `head*` and `*tail` need no regular expression, and most are one of these."""

    def __init__(self, tokens: list[Token]) -> None:
        kinds = [token[0] for token in tokens]
        rest = [token[1] for token in tokens if token[0] == _LITERAL]
        plain = kinds.count(_STAR) == 1 and len(rest) + 1 == len(kinds)
        self.head = "".join(rest) if plain and kinds[-1] == _STAR else ""
        self.tail = "".join(rest) if plain and kinds[0] == _STAR else ""
        self.all = kinds == [_STAR]
        self.expression = "" if self.head or self.tail or self.all else _expression(tokens)
        self._compiled: Pattern[str] | None = None

    def accepts(self, name: str) -> bool:
        if not self.expression:
            return name.startswith(self.head) and name.endswith(self.tail)
        if self._compiled is None:
            import re

            self._compiled = re.compile(self.expression)
        return self._compiled.match(name) is not None


def any_of(globs: list[Glob]) -> Callable[[str], object] | None:
    """One test for all of them, None for none."""
    if not globs:
        return None
    if any(glob.all for glob in globs):
        return lambda name: True
    heads = tuple([glob.head for glob in globs if glob.head])
    tails = tuple([glob.tail for glob in globs if glob.tail])
    expressions = [glob.expression for glob in globs if glob.expression]
    if not expressions:
        return lambda name: name.endswith(tails) or name.startswith(heads)
    import re

    compiled = re.compile("|".join(expressions)).match
    if not heads and not tails:
        return compiled
    return lambda name: name.endswith(tails) or name.startswith(heads) or compiled(name)


def _expression(tokens: list[Token]) -> str:
    """A regular expression that does not backtrack: an atomic group for each star but the last."""
    chunks = [""]
    for kind, what in tokens:
        if kind == _STAR:
            chunks.append("")
        elif kind == _ONE:
            chunks[-1] += "."
        elif kind == _LITERAL:
            chunks[-1] += _quoted(what)
        else:
            ranges = "".join([f"{_quoted(low)}-{_quoted(high)}" for low, high in what[1] if low <= high])
            nothing = "." if what[0] else "(?!)"
            chunks[-1] += f"[{'^' if what[0] else ''}{ranges}]" if ranges else nothing
    if len(chunks) == 1:
        return rf"(?s:{chunks[0]})\Z"
    middle = "".join([f"(?>.*?{chunk})" for chunk in chunks[1:-1] if chunk])
    return rf"(?s:{chunks[0]}{middle}.*{chunks[-1]})\Z"


def _quoted(character: str) -> str:
    return character if character.isalnum() or character == "_" else f"\\U{ord(character):08x}"


class Automaton:
    """A pattern over whole paths, followed by all its positions at once; sets met before are remembered."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.final = len(tokens)
        self._steps: dict[tuple[State, str], State] = {}
        self.start = self._closed({0})

    def run(self, state: State, text: str) -> State:
        steps = self._steps
        for character in text:
            following = steps.get((state, character))
            state = following if following is not None else self.step(state, character)
        return state

    def step(self, state: State, character: str) -> State:
        key = (state, character)
        known = self._steps.get(key)
        if known is not None:
            return known
        following: set[int] = set()
        for position in state:
            # A negative position is one inside a `**` that has begun, and may only be left after a slash.
            at = -position - 1 if position < 0 else position
            if at == self.final:
                continue
            token = self.tokens[at]
            if token[0] == DEEP:
                following.add(-at - 1)
                if character == "/":
                    following.add(at + 1)
            elif token[0] == REST or (token[0] == _STAR and character != "/"):
                following.add(at)
            elif token[0] != _STAR and _accepts(token, character):
                following.add(at + 1)
        if len(self._steps) > _REMEMBERED:
            self._steps.clear()
        result = self._steps[key] = self._closed(following)
        return result

    def _closed(self, positions: set[int]) -> State:
        for position in tuple(positions):
            while 0 <= position < self.final and self.tokens[position][0] in (DEEP, REST, _STAR):
                position += 1
                positions.add(position)
        return frozenset(positions)


def _accepts(token: Token, character: str) -> bool:
    """Whether a token for one character is one for this."""
    kind, what = token
    if kind == _LITERAL:
        return bool(what == character)
    if kind == _ONE:
        return character != "/"
    negated, ranges = what
    return bool(negated) != any(low <= character <= high for low, high in ranges)


def parse(pattern: str, *, deep: bool) -> list[Token]:
    """The tokens of a pattern; `**` is one only where it is `deep`. Raises `ValueError` as Go's ErrBadPattern."""
    tokens: list[Token] = []
    at, end = 0, len(pattern)
    while at < end:
        ch = pattern[at]
        at += 1
        if ch == "*" and deep and pattern[at : at + 1] == "*":
            at += 1
            slash = pattern[at : at + 1] == "/"
            at += slash
            tokens.append((REST, None) if at == end else (DEEP, slash))
        elif ch == "*":
            tokens.append((_STAR, None))
        elif ch == "?":
            tokens.append((_ONE, None))
        elif ch == "[":
            token, at = _parse_class(pattern, at)
            tokens.append(token)
        elif ch == "\\":
            if at == end:
                _bad(pattern, "the backslash at its end escapes nothing")
            tokens.append((_LITERAL, pattern[at]))
            at += 1
        else:
            tokens.append((_LITERAL, ch))
    # moby compares the end of the path with `**name`, and only there is no slash wanted before the name
    if tokens and tokens[0] == (DEEP, False) and not any(ch in pattern[2:] for ch in "*?[]\\"):
        tokens[0] = (REST, False)
    return tokens


def _parse_class(pattern: str, at: int) -> tuple[Token, int]:
    """The class whose `[` is before `at`, and where it ends."""
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []

    def character(at: int) -> tuple[str, int]:
        ch = pattern[at : at + 1]
        if ch == "\\":
            at += 1
            ch = pattern[at : at + 1]
        elif ch in ("-", "]"):
            _bad(pattern, f"`{ch}` in brackets needs a backslash here")
        if not ch or at + 1 == len(pattern):
            _bad(pattern, "the bracket is not closed")
        return ch, at + 1

    while pattern[at : at + 1] != "]" or not ranges:
        low, at = character(at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = character(at + 1)
        ranges.append((low, high))
    return (_CLASS, (negated, tuple(ranges))), at + 1


def _bad(pattern: str, why: str) -> NoReturn:
    raise ValueError(f"bad pattern `{pattern}`: {why}")
