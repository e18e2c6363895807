"""Reading JSON that others wrote: bounded in size and depth, no key twice, every field of the type it must have.

Registries, archives and layouts are not trusted. A document that two readers
could read differently (a key twice, a number where a text belongs, half of a
character) is refused and not interpreted.
"""

from __future__ import annotations

from buildkit_py import json_text
from buildkit_py.errors import SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_SURROGATES = (b"\\ud", b"\\uD")


class Malformed(SourceError):
    """A document that is not what it should be."""


def parse_object(data: bytes, *, limit: int, what: str) -> dict[str, Any]:
    """The JSON object in `data`. Raises `Malformed` where it is larger than `limit`, or no such object."""
    if len(data) > limit:
        raise Malformed(f"the {what} is larger than {limit >> 20} MiB")
    try:
        value = json_text.load(data.decode("utf-8"), _unique)
    except UnicodeDecodeError as problem:
        raise Malformed(f"the {what} is not UTF-8") from problem
    except RecursionError as problem:
        raise Malformed(f"the {what} is nested too deeply") from problem
    except ValueError as problem:
        raise Malformed(f"the {what} is not valid JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise Malformed(f"the {what} is not a JSON object")
    if any(escape in data for escape in _SURROGATES):  # of few; mostly they are pairs, and so whole characters
        _refuse_halves(value, what)
    return value


def _refuse_halves(value: Any, what: str) -> None:
    """Raises `Malformed` for a text with half of a character, which no file and no key can hold.

    Those that stand for bytes that are no UTF-8 (PEP 383) are texts of ours.
    """
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str):
            try:
                one.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError as problem:
                raise Malformed(f"the {what} has a text with half of a character") from problem


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} stands twice in one object")
            seen.add(key)
    return found


def text(value: dict[str, Any], key: str, what: str, default: str = "") -> str:
    """A field that is a text; absent and null are `default`."""
    found = value.get(key)
    if found is None:
        return default
    if not isinstance(found, str):
        raise Malformed(f"`{key}` of the {what} is not a text")
    return found


def integer(value: dict[str, Any], key: str, what: str, default: int | None = 0) -> int:
    """A field that is a whole number of 64 bits (no boolean). A `default` of None makes it required."""
    found = value.get(key)
    if found is None and default is not None:
        return default
    if not isinstance(found, int) or isinstance(found, bool):
        raise Malformed(f"`{key}` of the {what} is not a whole number")
    if not -(1 << 63) <= found < 1 << 63:  # what Go's `int64` holds: no other tool reads it either
        raise Malformed(f"`{key}` of the {what} is not a number that 64 bits hold")
    return found


def boolean(value: dict[str, Any], key: str, what: str) -> bool:
    """A field that is true or false; absent and null are false."""
    found = value.get(key)
    if found is None:
        return False
    if not isinstance(found, bool):
        raise Malformed(f"`{key}` of the {what} is neither true nor false")
    return found


def mapping(value: dict[str, Any], key: str, what: str) -> dict[str, Any] | None:
    """A field that is an object, or None where it is absent or null."""
    found = value.get(key)
    if found is not None and not isinstance(found, dict):
        raise Malformed(f"`{key}` of the {what} is not an object")
    return found


def objects(value: dict[str, Any], key: str, what: str) -> list[dict[str, Any]]:
    """A field that is a list of objects; absent and null are empty."""
    found = value.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise Malformed(f"`{key}` of the {what} is not a list of objects")
    return found


def texts(value: dict[str, Any], key: str, what: str) -> tuple[str, ...] | None:
    """A field that is a list of texts, or None where it is absent or null."""
    found = value.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise Malformed(f"`{key}` of the {what} is not a list of texts")
    return tuple(found)


def text_pairs(value: dict[str, Any], key: str, what: str) -> tuple[tuple[str, str], ...]:
    """A field that is an object of texts, as pairs in its order."""
    found = mapping(value, key, what) or {}
    if not all(isinstance(item, str) for item in found.values()):
        raise Malformed(f"`{key}` of the {what} has a value that is not a text")
    return tuple(found.items())
