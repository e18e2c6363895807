"""Sizes as people write them: a number of bytes, `512m`, `1.5g`, `20GB`."""

from __future__ import annotations

_UNITS = {"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30}
_UNITS |= {"t": 40, "tb": 40, "tib": 40}
# Less than this holds nothing that a person means.
_LEAST = 1 << 20


def byte_size(text: str, least: int = _LEAST) -> int:
    """The bytes that a text says; a unit is a power of 1024, as docker has it for `--memory`.

    Raises `ValueError`, also for less than `least`.
    """
    lowered = text.strip().lower()
    number = lowered.rstrip("bikmgt")
    whole, dot, fraction = number.partition(".")
    digits = whole + fraction
    unit = _UNITS.get(lowered[len(number) :])
    if unit is None or not (digits.isascii() and digits.isdigit()) or (dot and not fraction):
        raise ValueError(f"`{text}` is no size; write a number of bytes, or 512m, 1.5g")
    total = (int(whole or "0") << unit) + ((int(fraction) << unit) // 10 ** len(fraction) if fraction else 0)
    if not least <= total < 1 << 60:
        lowest = "1m" if least == _LEAST else least
        raise ValueError(f"`{text}` is not a size between {lowest} and a million terabytes")
    return total
