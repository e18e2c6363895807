"""Texts of the command line as values of the types a signature names."""

from pathlib import Path
from typing import Any, Literal, Optional, Union

import pytest

from buildkit_py.errors import UsageError
from buildkit_py.frontend.python.parameters import Parameter, convert, from_command_line, parameters_of
from buildkit_py.source_map import Position

AT = Position("Buildfile.py", 3)


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("a b", str, "a b"),
        ("", str, ""),
        ("-5", int, -5),
        ("1_000", int, 1000),
        ("2.5", float, 2.5),
        ("true", bool, True),
        ("No", bool, False),
        ("0", bool, False),
        ("a/b", Path, Path("a/b")),
        ("b", Literal["a", "b"], "b"),
        ("2", Literal[1, 2], 2),
        ("5", int | None, 5),
        ("", int | None, None),
        ("", Path | None, None),
        ("", str | None, None),
        ("", Literal["", "a"] | None, None),
        ("x", Optional[str], "x"),  # noqa: UP045
        ("5", Union[str, int], 5),  # noqa: UP007
        ("five", str | int, "five"),
        ("x", Any, "x"),
    ],
)
def test_conversions(text, hint, value):
    got = convert(text, hint)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "hint"),
    [("x", int), ("1.5", int), ("x", float), ("maybe", bool), ("c", Literal["a", "b"]), ("x", int | None), ("x", dict)],
)
def test_what_does_not_convert(text, hint):
    with pytest.raises(ValueError, match=r"^(true or false|a type that cannot be given on the command line)?$"):
        convert(text, hint)


def from_line(function, *given):
    return from_command_line(parameters_of(function, AT), given, "app", AT)


def test_lists_take_an_option_several_times():
    def app(names: list[str], numbers: tuple[int, ...] = (), one: str = ""):
        pass

    assert from_line(app, ("names", "a"), ("numbers", "1"), ("names", "b"), ("numbers", "2")) == {
        "names": ["a", "b"],
        "numbers": (1, 2),
    }
    with pytest.raises(UsageError, match="is given 2 times, it takes one value"):
        from_line(app, ("names", "a"), ("one", "1"), ("one", "2"))


def test_dashes_stand_for_underscores():
    def app(dry_run: bool = False):
        pass

    assert from_line(app, ("dry-run", "1")) == from_line(app, ("dry_run", "1")) == {"dry_run": True}


def test_a_parameter_without_default_is_needed():
    def app(name: str, *, jobs: int):
        pass

    with pytest.raises(UsageError) as caught:
        from_line(app, ("name", "x"))
    assert (caught.value.message, caught.value.hint) == ("the target `app` needs `--jobs`", "--jobs=… (int)")


def test_without_annotations_the_default_decides():
    def app(a, b="x", c=1, d=None, e=True):
        pass

    assert parameters_of(app, AT) == (
        Parameter("a", str),
        Parameter("b", str, True, "x"),
        Parameter("c", int, True, 1),
        Parameter("d", str, True, None),
        Parameter("e", bool, True, True),
    )
    assert parameters_of(app, AT)[2].described() == ("c", "int", "1", "")


def test_annotations_that_are_texts_are_worked_out():
    def app(a: "int | None" = None, b: "list[str]" = ()):
        pass

    assert [parameter.hint for parameter in parameters_of(app, AT)] == [int | None, list[str]]
