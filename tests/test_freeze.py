"""Freezing and thawing: graphs come back as the graphs they were."""

from __future__ import annotations

import marshal

import pytest

from buildkit_py.freeze import freeze, thaw
from buildkit_py.graph.op import ImageSource, Run
from buildkit_py.graph.step import Step, in_order
from buildkit_py.image.config import ImageConfig
from buildkit_py.source_map import Position


def there_and_back(value: object, first: tuple[Step, ...] = ()) -> object:
    return thaw(marshal.loads(marshal.dumps(freeze(value, first), 4)))


def test_values_come_back() -> None:
    config = ImageConfig(env=(("A", "1"),), cmd=None, entrypoint=(), extra=(("X", {"a": (1, 2.5, None, b"x")}),))
    assert there_and_back((config, "x", True)) == (config, "x", True)


def test_what_is_shared_stays_shared() -> None:
    base = Step(ImageSource("d", "linux/amd64", ("l",)), position=Position("f", 1))
    left, right = Step(Run(("a",)), base), Step(Run(("b",)), base, (base,))
    new_left, new_right = there_and_back((left, right))  # type: ignore[misc]
    assert new_left.base is new_right.base is new_right.sources[0]
    assert new_left.op == left.op
    assert new_left.base.position == base.position


def test_a_long_chain_needs_no_recursion() -> None:
    top = Step(Run(("0",)))
    for number in range(20_000):
        top = Step(Run((str(number),)), top)
    steps = tuple(in_order([top]))
    again = there_and_back(top, steps)
    assert len(list(in_order([again]))) == len(steps)  # type: ignore[list-item]


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="cannot freeze"):
        freeze({1, 2})
