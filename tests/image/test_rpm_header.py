"""Headers of rpm: what is in them, and that nothing is believed of one that lies."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.image.rpm_header import NAME, RpmHeader
from tests.image.rpms import CHAR, INT32, STRING, STRINGS, header

VALUES = [
    (1000, STRING, 1, b"hello\0"),
    (1001, STRING, 1, b"1.2\0"),
    (1002, STRING, 1, b"3\0"),
    (1003, INT32, 1, struct.pack(">I", 2)),
    (1029, CHAR, 3, bytes((0, 1, 2))),
    (1116, INT32, 3, struct.pack(">III", 0, 1, 1)),
    (1117, STRINGS, 3, b"run\0more\0doc\0"),
    (1118, STRINGS, 2, b"/opt/hello/\0/opt/hello/data/\0"),
]
WHOLE = header(VALUES)


def test_a_package() -> None:
    found = RpmHeader(WHOLE)
    assert found.text(NAME) == "hello"
    assert found.evr == "2:1.2-3"
    # The third one was not installed: documentation that was left out.
    assert found.files(1 << 20) == ["opt/hello/run", "opt/hello/data/more"]
    assert RpmHeader(header(VALUES[:3])).evr == "1.2-3"
    assert RpmHeader(header([])).text(NAME) == ""
    assert RpmHeader(header(VALUES[:4])).files(1 << 20) == []


def test_a_directory_is_said_once_for_many_files() -> None:
    many = 5000

    def found(directory: bytes) -> RpmHeader:
        values = [
            (1116, INT32, many, bytes(4 * many)),
            (1117, STRINGS, many, b"a\0" * many),
            (1118, STRINGS, 1, directory + b"\0"),
        ]
        return RpmHeader(header(values))

    assert found(b"/" + b"d" * 1_000_000 + b"/").files(1 << 20) == []
    assert len(found(b"/opt/").files(1 << 20)) == many
    with pytest.raises(ValueError, match="more files than a system can have"):
        found(b"/" + b"d" * 4000 + b"/").files(1 << 20)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "shorter"),
        (WHOLE[:-1], "other lengths"),
        (WHOLE + b"\0", "other lengths"),
        (b"\xff" * 8 + WHOLE[8:], "other lengths"),
        (struct.pack(">II", 0x10000, 0) + bytes(16 * 0x10000), "other lengths"),
    ],
)
def test_what_is_no_header(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RpmHeader(data)


def changed(tag: int, field: int, value: int) -> bytes:
    """The whole header with a number of a tag's entry changed: 1 its type, 2 its offset, 3 its count."""
    at = 8 + 16 * [one[0] for one in VALUES].index(tag) + 4 * field
    return WHOLE[:at] + struct.pack(">I", value) + WHOLE[at + 4 :]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(1000, 1, INT32), "type"),
        (changed(1000, 2, 0xFFFFFFFF), "begin behind"),
        (changed(1118, 3, 0xFFFFFFFF), "does not end"),
        (changed(1116, 3, 0xFFFFFFFF), "go on behind"),
        (changed(1029, 3, 0xFFFFFFFF), "go on behind"),
        (changed(1117, 3, 2), "not of one length"),
        (changed(1118, 3, 1), "not listed"),
        (header([(1000, STRING, 1, b"hello")]), "does not end"),
    ],
)
def test_what_lies(data: bytes, message: str) -> None:
    found = RpmHeader(data)
    with pytest.raises(ValueError, match=message):
        (found.text(NAME), found.evr, found.files(1 << 20))


@settings(deadline=None)
@given(st.data())
def test_any_damage_is_a_value_error_or_none(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(WHOLE) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = RpmHeader(bytes(damaged))
        (found.text(NAME), found.evr, found.files(1 << 20))
    except ValueError:
        pass
