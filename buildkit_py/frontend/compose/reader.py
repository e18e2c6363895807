"""Reading values: what a key wants, or a `ComposeError` that says where, which key, and what to do."""

from __future__ import annotations

from buildkit_py.errors import ComposeError
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.compose.document import Value
from buildkit_py.frontend.compose.merge import pairs as as_pairs
from buildkit_py.frontend.compose.words import split
from buildkit_py.whole_number import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    Env: TypeAlias = Callable[[Value], Mapping[str, str]]

_TRUE = ("true", "yes", "y", "on", "1")
_FALSE = ("false", "no", "n", "off", "0")


def wrong(what: str, wanted: str, value: Value, hint: str = "") -> ComposeError:
    """The error for a value of another type than a key wants."""
    return ComposeError(f"`{what}` wants {wanted}, and this is {value.kind}", at=value.at, hint=hint)


def text(value: Value, what: str) -> str:
    """A string. Numbers and booleans are none, as elsewhere: they may not stand for what they look like."""
    if not isinstance(value.data, str):
        hint = f'write `"{value.text}"`' if value.text and value.data is not None else ""
        raise wrong(what, "a string", value, hint)
    return value.data


def word(value: Value, what: str) -> str:
    """A string or a number, as it was written."""
    if isinstance(value.data, str):
        return value.data
    if isinstance(value.data, (int, float)) and not isinstance(value.data, bool):
        return value.text
    raise wrong(what, "a string or a number", value)


def boolean(value: Value, what: str) -> bool:
    """A boolean, or a string that says one, as variables are."""
    if isinstance(value.data, bool):
        return value.data
    if isinstance(value.data, str) and value.data.lower() in _TRUE + _FALSE:
        return value.data.lower() in _TRUE
    raise wrong(what, "`true` or `false`", value)


def integer(value: Value, what: str, least: int = 0, most: int = (1 << 63) - 1) -> int:
    """A whole number, or a string of digits, as variables are."""
    number = value.data
    if isinstance(number, str):
        digits = number.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise wrong(what, "a whole number", value)
        try:
            number = whole_number(digits) * (-1 if digits != number else 1)
        except ValueError as problem:
            raise ComposeError(f"`{what}`: {problem}", at=value.at) from None
    if not isinstance(number, int) or isinstance(number, bool):
        raise wrong(what, "a whole number", value)
    if number < least:
        raise ComposeError(f"`{what}` is {number}, and {least} is the least", at=value.at)
    if number > most:
        raise ComposeError(f"`{what}` is {number}, and {most} is the most", at=value.at)
    return number


def items(value: Value, what: str) -> tuple[Value, ...]:
    """The values of a list, none of an empty value."""
    if value.data is None:
        return ()
    if not isinstance(value.data, tuple):
        raise wrong(what, "a list", value)
    return value.data


def texts(value: Value, what: str, *, alone: bool = False) -> tuple[str, ...]:
    """A list of strings; with `alone` also one string for itself."""
    if alone and isinstance(value.data, str):
        return (value.data,)
    return tuple([text(one, what) for one in items(value, what)])


def mapping(value: Value, what: str) -> dict[str, Value]:
    """A mapping, empty for an empty value."""
    if value.data is None:
        return {}
    if not isinstance(value.data, dict):
        raise wrong(what, "a mapping", value)
    return value.data


def entries(value: Value, what: str) -> list[tuple[str, Value, Value | None]]:
    """A list of names, or a mapping: each name, where it stands, and what is said of it."""
    if isinstance(value.data, tuple):
        return [(text(one, what), one, None) for one in value.data]
    if value.data is not None and not isinstance(value.data, dict):
        raise wrong(what, "a list or a mapping", value)
    return [(name, one, one) for name, one in mapping(value, what).items()]


def pairs(value: Value, what: str, env: Env | None = None) -> tuple[tuple[str, str], ...]:
    """A mapping of names to strings, or a list of `NAME=value`.

    One without a value takes it from the `env` of its file, and is dropped where that lacks it; without an `env` it is
    empty.
    """
    if value.data is not None and not isinstance(value.data, (dict, tuple)):
        raise wrong(what, "a mapping or a list of `NAME=value`", value)
    if isinstance(value.data, tuple):
        for one in value.data:
            text(one, what)
    found = []
    for name, one in mapping(as_pairs(value), what).items():
        if not name or "\0" in name or "=" in name:
            raise ComposeError(f"`{name}` is no name in `{what}`", at=one.place)
        if one.data is None:
            if env is None:
                found.append((name, ""))
            elif name in (known := env(one)):
                found.append((name, known[name]))
        elif isinstance(one.data, (dict, tuple)):
            raise wrong(f"{what}.{name}", "a string, a number or a boolean", one)
        else:
            found.append((name, one.text if not isinstance(one.data, str) else one.data))
    return tuple(found)


def command(value: Value, what: str) -> tuple[str, ...] | None:
    """A command: a list of words, or a string that is split into them; None for an empty value."""
    if value.data is None:
        return None
    if isinstance(value.data, str):
        try:
            return split(value.data)[0]
        except ValueError as problem:
            raise ComposeError(f"`{what}` cannot be split into words: {problem}", at=value.at) from None
    if not isinstance(value.data, tuple):
        raise wrong(what, "a string or a list of strings", value)
    return tuple([word(one, what) for one in value.data])


def seconds(value: Value, what: str) -> float:
    """A time as Go writes it: `1m30s`. Raises `ComposeError`."""
    return nanoseconds(value, what) / 1e9


def nanoseconds(value: Value, what: str) -> int:
    """A time as Go writes it, in nanoseconds."""
    from buildkit_py.frontend.buildfile.duration import parse_duration

    try:
        time = parse_duration(word(value, what))
    except ValueError as problem:
        raise ComposeError(f"`{what}`: {problem}", at=value.at, hint="write a time as `10s` or `1m30s`") from None
    if time < 0:
        raise ComposeError(f"`{what}` is less than no time", at=value.at)
    return time


def size(value: Value, what: str, least: int = 1) -> int:
    """A number of bytes, or a string as `512m`."""
    from buildkit_py.byte_size import byte_size

    try:
        return byte_size(word(value, what), least)
    except ValueError as problem:
        raise ComposeError(f"`{what}`: {problem}", at=value.at) from None


class Fields:
    """The fields of a mapping that may have these keys and `x-` ones. Raises `ComposeError` for another key.

    `refused` are keys that the specification knows and we do not, with what to do instead; `what` is the mapping for
    people, as "a service"; `path` its own key.
    """

    def __init__(
        self, value: Value, what: str, known: Iterable[str], refused: Mapping[str, str] | None = None, path: str = ""
    ) -> None:
        self.value = value
        self.path = path
        if value.data is not None and not isinstance(value.data, dict):
            raise ComposeError(f"{what} is a mapping, and this is {value.kind}", at=value.at)
        self._data = mapping(value, what)
        names = tuple(known)
        refused = refused or {}
        for key, one in self._data.items():
            if key in names or key.startswith("x-"):
                continue
            if key in refused:
                raise ComposeError(f"`{key}` of {what} is not supported", at=one.place, hint=refused[key])
            hint = did_you_mean(key, names) or "a key of your own begins with `x-`"
            raise ComposeError(f"`{key}` is no key of {what}", at=one.place, hint=hint)

    def __contains__(self, key: str) -> bool:
        return key in self._data and self._data[key].data is not None

    def get(self, key: str) -> Value | None:
        """The value of a key; None where it is not there, or empty."""
        return self._data[key] if key in self else None

    def filled(self, key: str) -> Value | None:
        """The value of a key; None also for an empty text, as a variable that is not set leaves it."""
        value = self.get(key)
        return None if value is not None and value.data == "" else value

    def needs(self, key: str) -> Value:
        """The value of a key that has to be there."""
        value = self.get(key)
        if value is None:
            raise ComposeError(f"`{key}` is missing here", at=self.value.at)
        return value

    def _named(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.get(key)
        return text(value, self._named(key)) if value is not None else default

    def word(self, key: str, default: str = "") -> str:
        """A string or a number."""
        value = self.get(key)
        return word(value, self._named(key)) if value is not None else default

    def choice(self, key: str, choices: tuple[str, ...], default: str = "") -> str:
        """One of some words."""
        value = self.get(key)
        if value is None:
            return default
        found = text(value, self._named(key))
        if found not in choices:
            hint = did_you_mean(found, choices) or "it is " + ", ".join(f"`{one}`" for one in choices)
            raise ComposeError(f"`{self._named(key)}` cannot be `{found}`", at=value.at, hint=hint)
        return found

    def boolean(self, key: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.get(key)
        return boolean(value, self._named(key)) if value is not None else default

    def integer(self, key: str, default: int = 0, least: int = 0, most: int = (1 << 63) - 1) -> int:
        """A whole number."""
        value = self.get(key)
        return integer(value, self._named(key), least, most) if value is not None else default

    def texts(self, key: str, *, alone: bool = False) -> tuple[str, ...]:
        """A list of strings."""
        value = self.get(key)
        return texts(value, self._named(key), alone=alone) if value is not None else ()

    def pairs(self, key: str, env: Env | None = None) -> tuple[tuple[str, str], ...]:
        """Names and values."""
        value = self.get(key)
        return pairs(value, self._named(key), env) if value is not None else ()

    def command(self, key: str) -> tuple[str, ...] | None:
        """A command."""
        value = self.get(key)
        return command(value, self._named(key)) if value is not None else None

    def size(self, key: str, least: int = 1) -> int:
        """A number of bytes, 0 where nothing is said; with `least` 0 that may be said, too."""
        value = self.get(key)
        return size(value, self._named(key), least) if value is not None else 0
