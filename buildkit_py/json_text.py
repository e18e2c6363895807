"""JSON without the package `json`: that imports `re`, which is 4 ms, a tenth of what a build of a few steps takes.

`load` is its scanner in C, as `json.loads` calls it; `dump` writes the bytes
that `json.dumps(value, ensure_ascii=False)` would, and `ascii_dump` is its
encoder in C. All are held against it in tests. Where something is wrong with a text, the package is loaded to say so.
"""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

# A number that is too large for a float is read as one of these, and written as `json` has it.
_INFINITE = {"inf": "Infinity", "-inf": "-Infinity"}
_BLANK = " \t\n\r"


class _Scan:
    """What the scanner asks for: the options of `json.JSONDecoder`."""

    strict = True
    object_hook = None
    parse_float = float
    parse_int = int

    def __init__(
        self, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None, constant: Callable[[str], Any]
    ) -> None:
        self.object_pairs_hook = pairs_hook
        self.parse_constant = constant


def load(text: str, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text. `pairs_hook` makes objects of their pairs, if given.

    Raises `ValueError` for what is none, Python's own NaN and Infinity included, and what the hook raises;
    `RecursionError` for one nested too deeply.
    """
    begin = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = make_scanner(_Scan(pairs_hook, _no_constant))(text, begin)  # type: ignore[arg-type]  # it asks for these alone
    except StopIteration as stop:
        _fail("Expecting value", text, stop.value)
    except SystemError:
        # Before Python 3.12 the scanner only has its error where the module of it was loaded.
        import json.decoder  # noqa: F401

        return load(text, pairs_hook)
    rest = text[end:].lstrip(_BLANK)
    if rest:
        _fail("Extra data", text, len(text) - len(rest))
    return value


def dump(value: Any, indent: int = 0) -> str:
    """The JSON of None, bools, numbers, texts, lists and dicts with texts as keys.

    With `indent` on lines of their own, indented by so many spaces; without, with no blanks at all.
    """
    out: list[str] = []
    _write(value, out.append, "\n" if indent else "", " " * indent)
    return "".join(out)


def ascii_dump(value: Any, *, is_sorted: bool = False) -> bytes:
    """The bytes of `json.dumps(value, sort_keys=is_sorted, separators=(",", ":"))`, of a value as `dump` takes it."""
    encode = make_encoder(None, _no_form, encode_basestring_ascii, None, ":", ",", is_sorted, False, True)
    return "".join(encode(value, 0)).encode("ascii")


def _no_form(value: Any) -> NoReturn:
    raise TypeError(f"no JSON for {type(value).__name__}")


def _write(value: Any, put: Callable[[str], None], line: str, step: str) -> None:
    if isinstance(value, str):
        put(encode_basestring(value))
    elif value is None:
        put("null")
    elif isinstance(value, bool):
        put("true" if value else "false")
    elif isinstance(value, int):
        put(int.__repr__(value))
    elif isinstance(value, float):
        put(_INFINITE.get(text := float.__repr__(value), text))
    elif isinstance(value, dict):
        mark, colon = "{" + line + step, ": " if line else ":"
        for key, item in value.items():
            put(mark)
            put(encode_basestring(key))
            put(colon)
            _write(item, put, line + step, step)
            mark = "," + line + step
        put(line + "}" if value else "{}")
    elif isinstance(value, (list, tuple)):
        mark = "[" + line + step
        for item in value:
            put(mark)
            _write(item, put, line + step, step)
            mark = "," + line + step
        put(line + "]" if value else "[]")
    else:
        _no_form(value)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _fail(message: str, text: str, at: int) -> NoReturn:
    from json import JSONDecodeError

    raise JSONDecodeError(message, text, at) from None
