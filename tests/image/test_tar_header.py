"""Tar headers, read back by Python's own tar and by GNU tar."""

from __future__ import annotations

import io
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.image.entry import CHAR, DIR, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.tar_header import END, HeaderWriter
from buildkit_py.image.tar_reader import TarReader
from tests.needs import need


def read(header: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(header + END)) as tar:
        (info,) = tar.getmembers()
    return info


def test_an_ordinary_file_is_one_block() -> None:
    entry = Entry("usr/bin/tool", FILE, 0o4755, 12, 34, 0)
    header = HeaderWriter().header(entry, 1_700_000_000)
    assert len(header) == 512
    assert header[257:265] == b"ustar\x0000"
    assert not header[265:329].strip(b"\0")  # no names of owners
    info = read(header)
    assert (info.name, info.mode, info.uid, info.gid, info.mtime) == ("usr/bin/tool", 0o4755, 12, 34, 1_700_000_000)


_paths = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
        lambda part: part not in (".", "..")
    ),
    min_size=1,
    max_size=8,
).map("/".join)


@settings(max_examples=150, deadline=None)
@given(
    path=_paths,
    target=_paths,
    kind=st.sampled_from([FILE, DIR, SYMLINK, HARDLINK, CHAR]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, (1 << 32) - 2),
    gid=st.integers(0, (1 << 32) - 2),
    seconds=st.integers(-(1 << 32), 1 << 33),
)
def test_both_readers_read_what_was_written(
    path: str, target: str, kind: str, mode: int, uid: int, gid: int, seconds: int
) -> None:
    target = target if kind in (SYMLINK, HARDLINK) else ""
    xattrs = (("user.x", b"1\n2=3"),) if kind == FILE else ()
    entry = Entry(path, kind, mode, uid, gid, 0, 0, target, 0x105 if kind == CHAR else 0, xattrs)
    header = HeaderWriter().header(entry, seconds)
    assert len(header) % 512 == 0
    info = read(header)
    expected_mode = 0o777 if kind == SYMLINK else mode
    assert (info.name, info.mode, info.uid, info.gid) == (path, expected_mode, uid, gid)
    assert (int(info.mtime), info.linkname) == (seconds, target)
    (member,) = TarReader([header + END])
    name = path + "/" if kind == DIR else path
    assert member.name == name.encode()
    assert (member.mode, member.uid, member.gid) == (expected_mode, uid, gid)
    assert (member.link, member.time, member.xattrs) == (target.encode(), seconds * 10**9, xattrs)


@pytest.mark.parametrize("length", [99, 100, 101, 155, 156, 157, 200, 255, 256, 257, 300, 1000])
@pytest.mark.parametrize("step", [0, 7, 60, 100, 101])
def test_names_of_every_length_come_back(length: int, step: int) -> None:
    name = "".join("/" if step and at % step == step - 1 else "n" for at in range(length - 1)) + "e"
    header = HeaderWriter().header(Entry(name, FILE), 0)
    assert read(header).name == name
    assert next(iter(TarReader([header + END]))).name == name.encode()


def test_whiteouts_and_opaque_marks_are_empty_files_of_those_names() -> None:
    writer = HeaderWriter()
    info = read(writer.header(Entry("etc/motd", WHITEOUT, 0o644, 5, 5), 99))
    assert (info.name, info.size, info.mode, info.uid, info.mtime) == ("etc/.wh.motd", 0, 0, 0, 0)
    assert read(writer.opaque_mark("etc")).name == "etc/.wh..wh..opq"


def test_gnu_tar_lists_it_without_a_complaint() -> None:
    need("tar")
    writer = HeaderWriter()
    entries = [
        Entry("d" * 90 + "/" + "f" * 90, DIR, 0o755),
        Entry("x" * 300, FILE, 0o644, 3_000_000_000, 1),
        Entry("ü", SYMLINK, target="z" * 150),
        Entry("\udcff", FILE, xattrs=(("user.note", b"v"),)),
    ]
    data = b"".join(writer.header(entry, 5) for entry in entries) + END
    done = subprocess.run(["tar", "-tvf", "-"], input=data, capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stderr == b""
    assert len(done.stdout.splitlines()) == 4
    assert b"3000000000/1" in done.stdout
