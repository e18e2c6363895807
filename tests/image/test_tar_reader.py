"""The short way to ordinary files: it gives what reading member by member gives, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.errors import SourceError
from buildkit_py.image.entry import DIR, FILE, Entry
from buildkit_py.image.limits import Limits
from buildkit_py.image.tar_header import END, PADDING, HeaderWriter
from buildkit_py.image.tar_reader import Member, TarReader

SECOND = 10**9


def member(path: str, data: bytes = b"data", mode: int = 0o644, mtime: int = 5) -> bytes:
    head = HeaderWriter().header(Entry(path, FILE, mode, 0, 0, len(data)), mtime)
    return head + data + PADDING[len(data) % 512]


# The second ordinary file is the one that tells what such a file's header is like.
_BEFORE = member("d/zeroth") + member("d/first")


def _past_those_before(tar: TarReader) -> Iterator[Member]:
    members = iter(tar)
    assert [next(members).name, next(members).name] == [b"d/zeroth", b"d/first"]
    return members


def after_a_file(rest: bytes, prefix: bytes, most: int = 1 << 16) -> tuple[object, object]:
    """What the short way gives of the next member behind ordinary files, and what the long way gives."""
    answers: list[object] = []
    for short in (True, False):
        tar = TarReader([_BEFORE + rest + END])
        members = _past_those_before(tar)
        if short:
            answers.append(tar.sibling(prefix, most))
            continue
        try:
            found = next(members, None)
        except SourceError:
            found = None
        name = found.name if found is not None else b""
        if found is None or not name.startswith(prefix):
            answers.append(None)
        else:
            plain = name[len(prefix) :].decode("utf-8", "surrogateescape")
            answers.append((plain, found.mode, found.uid, found.gid, found.time, tar.data()))
    return answers[0], answers[1]


@pytest.mark.parametrize("path", ["d/second", "d/" + "x" * 98, "d/a b", "d/-"])
@pytest.mark.parametrize("data", [b"", b"x", bytes(512), bytes(513), bytes(65_536)])
def test_an_ordinary_sibling(path: str, data: bytes) -> None:
    short, long = after_a_file(member(path, data), b"d/")
    assert short == long == (path[2:], 0o644, 0, 0, 5 * SECOND, data)


def test_siblings_in_the_root() -> None:
    short, long = after_a_file(member("second"), b"")
    assert short == long is not None


@pytest.mark.parametrize(
    "rest",
    [
        member("d/e/second"),
        member("other/second"),
        member("d/.hidden"),
        member("d/.wh.gone"),
        member("d/second", mode=0o600),
        member("d/ä"),
        member("d/" + "x" * 120),
        member("d/second", bytes(65_537)),
        HeaderWriter().header(Entry("d/second", DIR), 5),
        HeaderWriter().header(Entry("d/second", FILE, xattrs=(("user.a", b"b"),)), 5),
        END,
        b"",
        b"garbage" * 100,
    ],
)
def test_what_is_no_ordinary_sibling(rest: bytes) -> None:
    assert after_a_file(rest, b"d/")[0] is None


def broken(at: int, bytes_: bytes) -> Callable[[bytes], bytes]:
    return lambda header: header[:at] + bytes_ + header[at + len(bytes_) :]


@pytest.mark.parametrize(
    "change",
    [
        broken(2, b"S"),  # the checksum is another's
        broken(124, b"-0000000004"),
        broken(124, b"\x80"),
        broken(136, b"9" * 11),
        broken(148, b"      "),
        broken(3, b"\0"),
    ],
)
def test_damaged_headers(change: Callable[[bytes], bytes]) -> None:
    assert after_a_file(change(member("d/second")), b"d/")[0] is None


@given(st.integers(0, 511), st.binary(min_size=1, max_size=4))
def test_any_change_of_a_header_means_the_same_both_ways(at: int, bytes_: bytes) -> None:
    header = member("d/second")
    changed = bytearray(header[:512])
    changed[at : at + len(bytes_)] = bytes_
    changed = changed[:512]
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    short, long = after_a_file(bytes(changed) + header[512:], b"d/")
    assert short is None or short == long


def test_one_that_is_not_all_there_yet() -> None:
    whole = _BEFORE + member("d/second", b"x" * 600) + END
    for cut in range(len(_BEFORE), len(whole), 100):
        tar = TarReader([whole[:cut], whole[cut:]])
        members = _past_those_before(tar)
        short = tar.sibling(b"d/", 1 << 16)
        assert (short is None) == (cut < len(_BEFORE) + 512 + 600)
        if short is None:
            assert next(members).name == b"d/second"
            assert tar.data() == b"x" * 600


def test_they_count_against_the_limit() -> None:
    tar = TarReader([_BEFORE + member("d/a") + member("d/b") + member("d/c") + END], Limits(entries=4))
    _past_those_before(tar)
    assert tar.sibling(b"d/", 100)
    assert tar.sibling(b"d/", 100)
    with pytest.raises(SourceError, match="more than 4 entries"):
        tar.sibling(b"d/", 100)
