"""The short way to ordinary files: it gives what reading member by member gives, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
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
            taken = tar.siblings(prefix, most, 1, 1 << 20)
            answers.append(taken[0] if taken else None)
            continue
        answer = None
        try:
            found = next(members, None)
            name = found.name if found is not None else b""
            if found is not None and name.startswith(prefix):
                plain = name[len(prefix) :].decode("utf-8", "surrogateescape")
                answer = (plain, found.mode, found.uid, found.gid, found.time, tar.data())
        except SourceError:
            pass  # of the header, or of data that the archive does not have
        answers.append(answer)
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
@example(124, b"1")  # a gigabyte, of which there is nothing
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
        short = tar.siblings(b"d/", 1 << 16, 10, 1 << 20)
        assert (not short) == (cut < len(_BEFORE) + 512 + 600)
        if not short:
            assert next(members).name == b"d/second"
            assert tar.data() == b"x" * 600


def test_several_at_once_and_no_more_than_wanted() -> None:
    files = [(f"d/{number}", bytes([number]) * 100 * number, number) for number in range(9)]
    whole = _BEFORE + b"".join([member(path, data, mtime=time) for path, data, time in files])
    wanted = [(path[2:], 0o644, 0, 0, time * SECOND, data) for path, data, time in files]

    def taken(files: int, size: int, rest: bytes = END) -> list[object]:
        tar = TarReader([whole + rest])
        members = _past_those_before(tar)
        found: list[object] = [*tar.siblings(b"d/", 1 << 16, files, size)]
        following = next(members, None)
        assert (following is None) == (len(found) == len(wanted) and rest == END)
        if following is not None and len(found) < len(wanted):
            assert following.name == b"d/%d" % len(found)
        return found

    assert taken(100, 1 << 20) == wanted
    assert taken(100, 1 << 20, member("d/e/other") + END) == wanted
    assert taken(4, 1 << 20) == wanted[:4]
    assert taken(100, 250) == wanted[:3]  # the third one makes it 300
    assert taken(0, 1 << 20) == []


@given(st.lists(st.integers(0, 400_000), max_size=12), st.lists(st.integers(0, 900_000), max_size=8))
def test_pieces_of_any_size(sizes: list[int], cuts: list[int]) -> None:
    files = [(f"d/{number}", bytes([65 + number]) * size) for number, size in enumerate(sizes)]
    whole = _BEFORE + b"".join([member(path, data) for path, data in files]) + END
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    tar = TarReader([piece for begin, end in pairwise(edges) if (piece := whole[begin:end])])
    members = _past_those_before(tar)
    found: list[tuple[str, bytes]] = []
    while True:
        for small in tar.siblings(b"d/", 1 << 16, 3, 1 << 17):
            found.append((f"d/{small[0]}", small[5]))
        following = next(members, None)
        if following is None:
            break
        found.append((following.name.decode(), b"".join([bytes(piece) for piece in tar.rest()])))
    assert found == files
    assert tar.ended


def test_what_a_global_header_says_holds_for_files_like_those_before_it() -> None:
    body = b"11 uid=123\n"
    header = HeaderWriter().header(Entry("g", FILE, 0o644, 0, 0, len(body)), 0)
    changed = bytearray(header)
    changed[156:157] = b"g"
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    tar = TarReader([_BEFORE + bytes(changed) + body + PADDING[len(body)] + member("d/a") + member("d/b") + END])
    members = _past_those_before(tar)
    assert next(members).uid == 123
    assert tar.siblings(b"d/", 100, 10, 1 << 20) == []
    assert next(members).uid == 123


def test_they_count_against_the_limit() -> None:
    tar = TarReader([_BEFORE + member("d/a") + member("d/b") + member("d/c") + END], Limits(entries=4))
    _past_those_before(tar)
    assert len(tar.siblings(b"d/", 100, 2, 1 << 20)) == 2
    with pytest.raises(SourceError, match="more than 4 entries"):
        tar.siblings(b"d/", 100, 2, 1 << 20)
