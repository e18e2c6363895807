"""Interpolation: `$NAME`, `${NAME}`, `${NAME:-default}` and the like in a text, by the Compose Specification.

    ${NAME:-word}   word where NAME is unset or empty          ${NAME-word}   where it is unset
    ${NAME:?word}   an error with word, likewise               ${NAME?word}
    ${NAME:+word}   word where NAME is set and not empty       ${NAME+word}   where it is set
    $$              a dollar sign

A word may have variables itself. A dollar sign that neither a name nor a brace follows stands for itself.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_DEEPEST = 50


def expand(
    text: str,
    env: Mapping[str, str],
    unset: Callable[[str], None] = lambda name: None,
    depth: int = 0,
) -> str:
    """The text with its variables' values. `unset` hears of those that have none, and stand for nothing.

    Raises `ValueError` for what is no variable, and for one that has to be set.
    """
    if depth > _DEEPEST:
        raise ValueError("variables are nested too deeply")
    out = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        at = dollar + 1
        if text.startswith("$", at):
            out.append("$")
            at += 1
        elif text.startswith("{", at):
            end = _closing(text, at)
            out.append(_braced(text[at + 1 : end], env, unset, depth))
            at = end + 1
        elif name := _NAME.match(text, at):
            out.append(_plain(name.group(), env, unset))
            at = name.end()
        else:
            out.append("$")
    return "".join([*out, text[at:]])


def _closing(text: str, start: int) -> int:
    depth = 0
    at = start
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 1
        elif at == start:
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
        at += 1
    raise ValueError(f"`{text[start - 1 :]}` has no closing brace")


def _plain(name: str, env: Mapping[str, str], unset: Callable[[str], None]) -> str:
    if name not in env:
        unset(name)
        return ""
    return env[name]


def _braced(inner: str, env: Mapping[str, str], unset: Callable[[str], None], depth: int) -> str:
    match = _NAME.match(inner)
    if match is None:
        raise ValueError(f"`${{{inner}}}` is no variable")
    name, rest = match.group(), inner[match.end() :]
    if not rest:
        return _plain(name, env, unset)
    operator = next((one for one in _OPERATORS if rest.startswith(one)), "")
    if not operator:
        raise ValueError(f"`${{{inner}}}` is no variable")
    word = rest[len(operator) :]
    has = name in env and (bool(env[name]) or not operator.startswith(":"))
    kind = operator[-1]
    if kind == "+":
        return expand(word, env, unset, depth + 1) if has else ""
    if has:
        return env[name]
    if kind == "?":
        said = expand(word, env, unset, depth + 1)
        raise ValueError(f"`{name}` has to be set" + (f": {said}" if said else ""))
    return expand(word, env, unset, depth + 1)
