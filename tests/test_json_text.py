"""JSON without the package: what it reads and writes is what the package would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py import json_text

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
_BROKEN = (
    "",
    "  ",
    "[1,]",
    "[",
    '{"a" 1}',
    "[1] x",
    "1 2",
    '"a\nb"',
    "tru",
    "\x0b1",
    "[1}",
    '{"a":}',
    "-",
    "01",
    "'a'",
)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


@given(_VALUES)
def test_it_writes_what_the_package_writes(value: Any) -> None:
    assert json_text.dump(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert json_text.dump(value, indent=2) == json.dumps(value, ensure_ascii=False, indent=2)


@given(_VALUES, st.booleans())
def test_it_writes_ascii_as_the_package_does(value: Any, is_sorted: bool) -> None:
    wanted = json.dumps(value, sort_keys=is_sorted, separators=(",", ":")).encode("ascii")
    assert json_text.ascii_dump(value, is_sorted=is_sorted) == wanted


@given(_VALUES, st.sampled_from([None, 1, "\t"]), st.booleans(), st.sampled_from(["", " ", "\n\t\r"]))
def test_it_reads_what_the_package_writes(value: Any, indent: Any, plain: bool, blank: str) -> None:
    text = blank + json.dumps(value, indent=indent, ensure_ascii=plain) + blank
    if "Infinity" not in text:
        assert json_text.load(text) == json.loads(text)


@given(st.text(alphabet='[]{}:,"\\u0aétrfalsn1.e- \n'))
def test_any_text_comes_to_the_same(text: str) -> None:
    try:
        wanted: Any = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as problem:
        wanted = (type(problem), str(problem))
    try:
        found: Any = json_text.load(text)
    except (ValueError, RecursionError) as problem:
        found = (type(problem), str(problem))
    assert found == wanted


@pytest.mark.parametrize("text", _BROKEN)
def test_what_is_wrong_is_said_as_the_package_says_it(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as theirs:
        json.loads(text)
    with pytest.raises(json.JSONDecodeError) as ours:
        json_text.load(text)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}'])
def test_what_only_python_takes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no JSON value"):
        json_text.load(text)


def test_a_number_past_all_floats_keeps_the_form_that_it_had() -> None:
    assert json_text.dump(json_text.load("[1e999, -1e999]")) == json.dumps(
        json.loads("[1e999,-1e999]"), separators=(",", ":")
    )


def test_pairs_are_seen_in_their_order_and_as_often_as_they_come() -> None:
    assert json_text.load('{"b": 1, "a": {"b": 2}, "b": 3}', tuple) == (("b", 1), ("a", (("b", 2),)), ("b", 3))


def test_what_has_no_form_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="no JSON for bytes"):
        json_text.dump([b""])
    with pytest.raises(TypeError, match="no JSON for bytes"):
        json_text.ascii_dump([b""])


def test_the_package_is_not_loaded() -> None:
    program = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from buildkit_py.json_text import ascii_dump, dump, load\n"
        "print(ascii_dump([1.5]) and dump(load('[1]'), indent=2) and sorted({'json', 're'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_a_mistake_is_told_where_the_package_was_never_loaded() -> None:
    """Before Python 3.12 the scanner in C cannot raise its error then."""
    program = (
        "import sys; from buildkit_py import json_text\n"
        "for text in ('[\"a', '{\"a\" 1}', '[1', 'x', '{1:2}'):\n"
        "    try: json_text.load(text)\n"
        "    except ValueError: continue\n"
        "    sys.exit(text)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)
