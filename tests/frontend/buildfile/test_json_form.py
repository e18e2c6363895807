"""What counts as the JSON form."""

from __future__ import annotations

import pytest

from buildkit_py.frontend.buildfile.json_form import parse_array


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("[]", ()),
        ('["a"]', ("a",)),
        (' ["a"]', None),
        ('["a" , "b"]\t', ("a", "b")),
        ('["\\u0041\\t"]', ("A\t",)),
        ('["\\ud800"]', ("\ufffd",)),
        ('["a",]', None),
        ("['a']", None),
        ('["a"] b', None),
        ('{"a": 1}', None),
        ('"a"', None),
        ("[NaN]", None),
        ("[" * 5000, None),
        ('["a\tb"]', None),
    ],
)
def test_arrays(text: str, items: tuple[str, ...] | None) -> None:
    assert parse_array(text) == items


@pytest.mark.parametrize("text", ["[1]", "[null]", '["a", ["b"]]', "[{}]", "[true]"])
def test_only_strings(text: str) -> None:
    with pytest.raises(ValueError, match="only strings"):
        parse_array(text)
