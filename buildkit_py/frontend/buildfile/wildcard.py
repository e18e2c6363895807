"""The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*` and `?`, and no brackets.

Matched by following all possible positions at once, so the time is bounded by
text × pattern. As in BuildKit, whose matcher is a regular expression, neither
wildcard matches a newline; `\\*`, `\\?` and `\\\\` are literal, `\\}` and `\\/`
drop their backslash, any other escape is an error.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    # ("*", ""), ("?", "") or ("", literal character)
    Token: TypeAlias = tuple[str, str]


def _tokens(pattern: str) -> list[Token]:
    tokens: list[Token] = []
    rest = iter(pattern)
    for ch in rest:
        if ch in "*?":
            tokens.append((ch, ""))
        elif ch == "\\":
            escaped = next(rest, "")
            if not escaped or escaped not in "*?\\}/":
                raise ValueError(f"invalid escape `\\{escaped}`")
            tokens.append(("", escaped))
        else:
            tokens.append(("", ch))
    return tokens


def _end(tokens: list[Token], text: str, start: int, *, longest: bool) -> int:
    """Where the shortest or longest match that begins at `start` ends, -1 where there is none."""
    final = len(tokens)

    def closure(positions: set[int]) -> set[int]:
        for position in list(positions):
            while position < final and tokens[position][0] == "*":
                position += 1
                positions.add(position)
        return positions

    here = closure({0})
    best = -1
    at = start
    while here:
        if final in here:
            best = at
            if not longest:
                break
        if at == len(text):
            break
        ch = text[at]
        at += 1
        following: set[int] = set()
        for position in here:
            if position == final:
                continue
            kind, literal = tokens[position]
            if kind == "*":
                if ch != "\n":
                    following.add(position)
            elif ch == literal if not kind else ch != "\n":
                following.add(position + 1)
        here = closure(following)
    return best


def trim(value: str, pattern: str, *, suffix: bool, longest: bool) -> str:
    """The value without the shortest or longest prefix (or suffix) that the pattern matches.

    Raises `ValueError` for a bad escape in the pattern.
    """
    tokens = _tokens(pattern)
    if suffix:
        end = _end(tokens[::-1], value[::-1], 0, longest=longest)
        return value[: len(value) - end] if end >= 0 else value
    end = _end(tokens, value, 0, longest=longest)
    return value[end:] if end >= 0 else value


def replace(value: str, pattern: str, make: Callable[[str], str], *, everywhere: bool) -> str:
    """The value with the first or every longest match replaced by what `make` makes of it.

    An empty match right after another match does not count, as in Go.
    Raises `ValueError` for a bad escape in the pattern.
    """
    tokens = _tokens(pattern)
    out: list[str] = []
    at = copied = 0
    previous_end = -1
    while at <= len(value):
        end = _end(tokens, value, at, longest=True)
        if end < 0 or (end == at and at == previous_end):
            at += 1
            continue
        out.append(value[copied:at])
        out.append(make(value[at:end]))
        copied = previous_end = end
        at = end if end > at else at + 1
        if not everywhere:
            break
    return "".join(out) + value[copied:]


def go_replacement(template: str, found: str) -> str:
    """Go's `Regexp.Expand` for an expression without groups: `$0` is the match, `$$` a dollar, `$name` empty."""
    out: list[str] = []
    at = 0
    while (dollar := template.find("$", at)) >= 0:
        out.append(template[at:dollar])
        at = dollar + 1
        if template[at : at + 1] == "$":
            out.append("$")
            at += 1
            continue
        braced = template[at : at + 1] == "{"
        start = end = at + braced
        while end < len(template) and (template[end] == "_" or template[end].isalnum()):
            end += 1
        if end == start or (braced and template[end : end + 1] != "}"):
            out.append("$")
            continue
        name = template[start:end]
        if name.isdigit() and int(name) == 0:
            out.append(found)
        at = end + braced
    return "".join(out) + template[at:]
