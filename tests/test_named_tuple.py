"""Named tuples of ours beside those of `collections`."""

from __future__ import annotations

import collections
import copy
import pickle

import pytest

from buildkit_py.named_tuple import namedtuple

Ours = namedtuple("Ours", ("a", "b", "c"), defaults=(2, ()))
Single = namedtuple("Single", ("only",))
Theirs = collections.namedtuple("Theirs", ("a", "b", "c"), defaults=(2, ()))


@pytest.mark.parametrize("arguments", [((1,), {}), ((1, 3), {"c": 4}), ((), {"c": 1, "a": "x", "b": None})])
def test_they_are_the_same(arguments) -> None:
    positional, named = arguments
    ours, theirs = Ours(*positional, **named), Theirs(*positional, **named)
    assert ours == theirs
    assert (ours.a, ours.b, ours.c) == (theirs.a, theirs.b, theirs.c)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert Ours._fields == Theirs._fields
    assert hash(ours) == hash(theirs)
    match ours:
        case Ours(first, second, third):
            assert (first, second, third) == theirs


@pytest.mark.parametrize("arguments", [((), {}), ((1, 2, 3, 4), {}), ((1,), {"a": 2}), ((1,), {"d": 2})])
def test_what_the_one_refuses_the_other_does(arguments) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*arguments[0], **arguments[1])


def test_items_are_replaced() -> None:
    assert Ours(1)._replace(b=5) == Theirs(1)._replace(b=5)
    assert type(Ours(1)._replace()) is Ours
    for one in (Ours(1), Theirs(1)):
        with pytest.raises((TypeError, ValueError)):
            one._replace(d=1)


def test_one_alone() -> None:
    assert Single("x") == ("x",)
    assert Single(("x",)).only == ("x",)
    assert repr(Single(("x",))) == "Single(only=('x',))"


def test_nothing_can_be_set() -> None:
    with pytest.raises(AttributeError):
        Ours(1).a = 2
    with pytest.raises(AttributeError):
        Ours(1).d = 2


def test_copies_are_of_the_same_kind() -> None:
    one = Ours(1, [2])
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert type(other) is Ours
        assert other == one
