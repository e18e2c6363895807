"""Durations as Go writes them: `1h30m`, `1.5s`, `300ms`, `0`."""

from __future__ import annotations

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DIGITS = frozenset("0123456789")
_LARGEST = (1 << 63) - 1


def parse_duration(text: str) -> int:
    """The nanoseconds that a Go duration stands for. Raises `ValueError` saying what is wrong."""
    rest = text
    negative = rest.startswith("-")
    if rest[:1] in ("-", "+"):
        rest = rest[1:]
    if rest == "0":
        return 0
    total = 0
    while rest:
        length = 0
        while length < len(rest) and (rest[length] in _DIGITS or rest[length] == "."):
            length += 1
        number = rest[:length]
        rest = rest[length:]
        whole, _, fraction = number.partition(".")
        if not (whole or fraction) or "." in fraction:
            raise ValueError(f"`{text}` is no duration")
        length = 0
        while length < len(rest) and rest[length] not in _DIGITS and rest[length] != ".":
            length += 1
        unit = rest[:length]
        rest = rest[length:]
        if not unit:
            raise ValueError(f"`{text}` lacks a unit, as in `{number}s`")
        if unit not in _UNITS:
            raise ValueError(f"`{text}` has the unknown unit `{unit}`")
        total += int(whole or "0") * _UNITS[unit]
        if fraction:
            total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
        if total > _LARGEST:
            raise ValueError(f"`{text}` is too long a time")
    if not text or text in ("-", "+"):
        raise ValueError(f"`{text}` is no duration")
    return -total if negative else total
