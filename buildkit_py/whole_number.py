"""A whole number in a text that somebody wrote: decimal digits, and not more of them than mean something."""

from __future__ import annotations

_MOST = (1 << 63) - 1


def whole_number(text: str, least: int = 0, most: int = _MOST) -> int:
    """The number, of at least 0, that a text says. Raises `ValueError` for another text, and outside of the bounds.

    `int` takes white space, signs, underscores and digits of other scripts, and has a limit of its own to the digits.
    """
    digits = text.lstrip("0")[: len(str(most)) + 1]
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"`{text}` is no whole number")
    number = int(digits or "0")
    if number > most:
        raise ValueError(f"`{text}` is more than {most}")
    if number < least:
        raise ValueError(f"`{text}` is less than {least}")
    return number
