"""A YAML document as values that know where they stand.

Scalars are what YAML 1.2 and Go's YAML library, by which other tools read these files, take them for: `no` and `on` are
texts, `22:22` is no number in base 60, and 0440 is octal. The text of each is kept as it was written.
"""

from __future__ import annotations

import re
from functools import cache

from buildkit_py.errors import ComposeError, UsageError
from buildkit_py.record import Record
from buildkit_py.source_map import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0o[0-7]+|0x[0-9a-fA-F]+|0b[01]+|[0-9]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST_NUMBER = 40
# An alias may stand for as much as the whole document, and that again.
_MOST_VALUES = 200_000
_DEEPEST = 100
_TAG = "tag:yaml.org,2002:"
RESET, OVERRIDE = "!reset", "!override"


class Value(Record):
    """`data` is None, a bool, int, float or str, a tuple of values, or a dict of them by key.

    `text` is a scalar as it was written; `key` is where its key stands, None for what has none; `tag` is `!reset`,
    `!override`, or "".
    """

    at: Position
    data: Any
    text: str = ""
    key: Position | None = None
    tag: str = ""

    @property
    def kind(self) -> str:
        """What it is, for people."""
        if self.data is None:
            return "empty"
        names = {dict: "a mapping", tuple: "a list", str: "a string", bool: "a boolean"}
        return names.get(type(self.data), "a number")

    @property
    def place(self) -> Position:
        """Where its key stands, or itself."""
        return self.key or self.at


def documents(source: bytes, name: str) -> list[Value]:
    """The documents of a file; empty ones are left out. Raises `ComposeError`."""
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = source[: problem.start].count(b"\n") + 1
        raise ComposeError("this is no UTF-8", at=Position(name, line)) from None
    yaml, loader = _library()
    try:
        nodes = list(yaml.compose_all(text, Loader=loader))
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        place = Position(name, mark.line + 1, mark.column + 1) if mark is not None else Position(name, 1)
        said = ", ".join(part for part in (problem.problem, problem.context) if part)
        raise ComposeError(f"this is no YAML: {said}", at=place) from None
    except yaml.YAMLError:
        bad = next((at for at, ch in enumerate(text) if not (ch.isprintable() or ch in "\n\r\t")), 0)
        line = text.count("\n", 0, bad) + 1
        raise ComposeError("this has a character that YAML does not allow", at=Position(name, line)) from None
    except RecursionError:
        raise ComposeError("this is nested too deeply", at=Position(name, 1)) from None
    reader = _Reader(name)
    found = [reader.value(node) for node in nodes if node is not None]
    return [value for value in found if value.data is not None]


@cache
def _library() -> tuple[Any, type]:
    """PyYAML, and a loader that leaves it to us what a scalar is. Raises `UsageError` where it is not installed."""
    try:
        import yaml
    except ImportError as problem:
        raise UsageError(
            "compose files are read by the library PyYAML, which is not installed",
            hint="install it with `pip install PyYAML`, or pybuild with `pip install 'buildkit-py[yaml]'`",
        ) from problem
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    names = {"yaml_implicit_resolvers": {}, "DEFAULT_SCALAR_TAG": ""}
    return yaml, type("Loader", (base,), names)


class _Reader:
    """From nodes of YAML to values."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: Any, key: Position | None = None) -> Value:
        self._count += 1
        at = self._at(node)
        if self._count > _MOST_VALUES:
            raise ComposeError(f"this comes to more than {_MOST_VALUES} values", at=at, hint="look at its aliases")
        if len(self._open) > _DEEPEST:
            raise ComposeError("this is nested too deeply", at=at)
        if id(node) in self._open:
            raise ComposeError("this is an alias of something that it is a part of", at=at)
        tag = node.tag if node.tag.startswith("!") else ""
        if tag not in ("", RESET, OVERRIDE):
            raise ComposeError(f"the tag `{tag}` is not known", at=at, hint="it is `!reset` or `!override`")
        if isinstance(node.value, str):
            data = self._scalar(node, at, tag)
            return Value(at, data, node.value, key, tag)
        self._open.add(id(node))
        try:
            if node.id == "mapping":
                return Value(at, self._mapping(node), "", key, tag)
            return Value(at, tuple([self.value(item) for item in node.value]), "", key, tag)
        finally:
            self._open.discard(id(node))

    def _at(self, node: Any) -> Position:
        return Position(self._name, node.start_mark.line + 1, node.start_mark.column + 1)

    def _scalar(self, node: Any, at: Position, tag: str) -> object:
        text: str = node.value
        if "\0" in text:
            raise ComposeError("this text has a zero byte", at=at)
        kind = node.tag.removeprefix(_TAG)
        if kind == "str" or (node.style not in (None, "") and (not node.tag or tag)):
            return text
        data = _resolved(text)
        if not node.tag or tag:
            return data
        fits = {"null": data is None, "bool": isinstance(data, bool), "int": type(data) is int}
        fits["float"] = type(data) in (int, float)
        if not fits.get(kind, False):
            raise ComposeError(f"`{text}` is not what its tag says", at=at)
        return data

    def _mapping(self, node: Any) -> dict[str, Value]:
        own: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key_node, value_node in node.value:
            at = self._at(key_node)
            if not isinstance(key_node.value, str):
                raise ComposeError("a key has to be a word", at=at)
            key = key_node.value
            if key == "<<" and key_node.style in (None, ""):
                for name, value in self._merged(value_node, at).items():
                    merged.setdefault(name, value)
                continue
            if not isinstance(self._scalar(key_node, at, ""), str):
                raise ComposeError(f"the key `{key}` is no string", at=at, hint=f'write `"{key}"`')
            if key in own:
                first = own[key].place
                raise ComposeError(f"`{key}` is given twice", at=at, notes=(f"the first one is at {first}",))
            own[key] = self.value(value_node, at)
        return {**merged, **own}

    def _merged(self, node: Any, at: Position) -> dict[str, Value]:
        """What `<<` brings in: a mapping, or several of which the first wins."""
        found = self.value(node)
        several = found.data if isinstance(found.data, tuple) else (found,)
        merged: dict[str, Value] = {}
        for one in several:
            if not isinstance(one.data, dict):
                raise ComposeError(f"`<<` wants mappings, and this is {one.kind}", at=at)
            for name, value in one.data.items():
                merged.setdefault(name, value)
        return merged


def _resolved(text: str) -> object:
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) <= _LONGEST_NUMBER:
        if _INTEGER.fullmatch(text):
            digits = text.lstrip("+-")
            old = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
            if old and not set(digits) <= set("01234567"):
                return float(text)
            return int(text, 8 if old else 0)
        if _FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
