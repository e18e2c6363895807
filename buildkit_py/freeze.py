"""Freezing: records, with all records that they refer to, as plain data for `marshal`, and thawing them again.

An object that is referred to twice is frozen once and thawed once, so a graph
of steps stays the graph that it was. For files of our own only: thawing
imports the modules that the data names.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def freeze(value: Any, first: Iterable[Record] = ()) -> tuple[Any, ...]:
    """Plain data that `thaw` makes the value of. `first`: records to take before the rest, in an order in which each
    refers to earlier ones only; without it a long chain would be followed by recursion.
    """
    freezer = _Freezer()
    for record in first:
        freezer.encode(record)
    root = freezer.encode(value)
    return (tuple(freezer.classes), tuple(freezer.nodes), root)


class _Freezer:
    def __init__(self) -> None:
        self.classes: dict[tuple[str, str], int] = {}
        self.nodes: list[tuple[Any, ...]] = []
        self._known: dict[int, int] = {}
        self._alive: list[Record] = []  # an id is only good as long as its object lives

    def encode(self, value: Any) -> Any:
        """Records become a frozenset of their number (no record holds a frozenset), containers are walked."""
        if isinstance(value, Record):
            number = self._known.get(id(value))
            if number is None:
                fields = tuple([self.encode(field) for field in value.values()])
                kind = type(value)
                index = self.classes.setdefault((kind.__module__, kind.__name__), len(self.classes))
                number = self._known[id(value)] = len(self.nodes)
                self._alive.append(value)
                self.nodes.append((index, fields))
            return frozenset((number,))
        kind = type(value)
        if kind is tuple or kind is list:
            return tuple([self.encode(item) for item in value])
        if kind is dict:
            return {self.encode(key): self.encode(item) for key, item in value.items()}
        if value is None or kind in (str, int, bool, bytes, float):
            return value
        raise TypeError(f"cannot freeze a {kind.__name__}")


def thaw(frozen: tuple[Any, ...]) -> Any:
    """The value that was frozen. Raises what a module of another version makes it raise."""
    classes, nodes, root = frozen
    kinds = [getattr(__import__(module, fromlist=[name]), name) for module, name in classes]
    made: list[Record] = []

    def decode(value: Any) -> Any:
        kind = type(value)
        if kind is tuple:
            return tuple([decode(item) for item in value]) if value else value
        if kind is frozenset:
            (number,) = value
            return made[number]
        if kind is dict:
            return {decode(key): decode(item) for key, item in value.items()}
        return value

    for index, fields in nodes:
        made.append(kinds[index](*[decode(field) for field in fields]))
    return decode(root)
