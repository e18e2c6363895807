"""Checking what a Buildfile.py hands over, with errors at the user's own line.

Plain classes are checked by `isinstance`; typeguard, which costs more to
import than a whole no-op build, is only asked about annotations that have
more to them.
"""

from __future__ import annotations

from _operator import is_

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.python.position import here
from buildkit_py.frontend.python.watch import Unwatched
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.source_map import Position


def expect(value: object, wanted: Any, what: str, *, at: Position | None = None) -> None:
    """Raise `BuildfileError` unless the value is of the wanted type: a class, a tuple of them, any annotation.

    `what` names the value: "`dest` of copy()".
    """
    if not accepts(value, wanted):
        raise BuildfileError(f"{what} must be {type_name(wanted)}, got {shown(value)}", at=at or here())


def accepts(value: object, wanted: Any) -> bool:
    """Whether a value is of the wanted type; True for an annotation that says nothing."""
    if isinstance(wanted, type) and not hasattr(wanted, "__origin__"):
        return isinstance(value, wanted) or (wanted is float and type(value) is int)
    if isinstance(wanted, tuple):
        return isinstance(value, wanted)
    # Importing typeguard lists directories for its plug-ins, which is no doing of the user's code.
    with Unwatched():
        from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

        try:
            check_type(value, wanted, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
        except TypeCheckError:
            return False
    return True


def exact(value: Any) -> Any:
    """The value with each text and number in it, also in tuples and records, of the plain type: an enum's are others.

    Raises `BuildfileError` for half of a character, which no file and no argument can have.
    """
    kind = type(value)
    if kind is int or kind is bool or value is None:
        return value
    if isinstance(value, str):
        text = value if kind is str else str.__str__(value)
        if not text.isascii():
            try:
                text.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError as problem:
                half = text[problem.start : problem.start + 1]
                raise BuildfileError(f"the text has half of a character ({half!r})", at=here()) from problem
        return text
    if kind is tuple:
        items = tuple([exact(item) for item in value])
        return value if all(map(is_, items, value)) else items
    if isinstance(value, Record):
        before = value.values()
        after = exact(before)
        return value if after is before else kind(*after)
    plain: Any
    for plain in (int, float, bytes):
        if isinstance(value, plain) and kind is not plain:
            return plain(value)
    return value


def strings(values: object, what: str) -> tuple[str, ...]:
    """A list of strings as a tuple; a lone string is refused, because it is one, letter by letter."""
    if isinstance(values, list | tuple) and all(isinstance(value, str) for value in values):
        return tuple(values)
    raise BuildfileError(f"{what} must be a list of str, got {shown(values)}", at=here())


def type_name(wanted: Any) -> str:
    """A type as people write it: `str`, `list[str]`, `int or str`."""
    if isinstance(wanted, tuple):
        return " or ".join(map(type_name, wanted))
    if wanted is type(None):
        return "None"
    if isinstance(wanted, type) and not hasattr(wanted, "__origin__"):
        return wanted.__name__
    return str(wanted).replace("typing.", "").replace("NoneType", "None")


def shown(value: object) -> str:
    """A value for an error: its type, and its text where that is short."""
    kind = type(value).__name__
    if value is None:
        return "None"
    text = repr(value)
    return f"{kind} {text}" if len(text) <= 60 else f"{kind} {text[:57]}..."
