"""A command that is written as a string, split into words as docker compose splits it: by the rules of go-shellwords.

No shell reads it. So a backslash takes the character behind it anywhere but in single quotes (`\\t` and `\\n` are a tab
and a new line), and nothing else is expanded.
"""

from __future__ import annotations

_SPACE = " \t\r\n"
_ESCAPES = {"t": "\t", "n": "\n"}
_OPERATORS = ";&|<>"


def split(text: str) -> tuple[tuple[str, ...], str]:
    """The words, and the first unquoted character that would end or redirect the command in a shell, "" without one.

    Raises `ValueError` for a quote that is not closed, and for nothing behind a backslash.
    """
    words: list[str] = []
    word: list[str] = []
    begun = False  # also one without a character, of two quotes
    quote = operator = ""
    characters = iter(text)
    for ch in characters:
        if not quote and ch in _SPACE:
            if begun:
                words.append("".join(word))
            word, begun = [], False
            continue
        begun = True
        if ch == "\\" and quote != "'":
            following = next(characters, "")
            if not following:
                raise ValueError("nothing follows its last backslash")
            word.append(_ESCAPES.get(following, following))
        elif ch == quote:
            quote = ""
        elif not quote and ch in "'\"":
            quote = ch
        else:
            if not quote and ch in _OPERATORS:
                operator = operator or ch
            word.append(ch)
    if quote:
        raise ValueError(f"it has no closing {quote}")
    if begun:
        words.append("".join(word))
    return tuple(words), operator
