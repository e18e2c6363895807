"""Unpacking: what was packed comes back, and no archive gets out of its directory.

The numbers T1 to T18 are those of the attack cases that the project keeps a
list of; each has its test here or, for ADD, in executor/test_unpack_archive.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildkit_py.errors import DigestMismatch, DiskFull, PybuildError, SandboxError, SourceError
from buildkit_py.image.content import content_digest
from buildkit_py.image.entry import CHAR, DIR, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.limits import Limits
from buildkit_py.image.overlay_diff import diff
from buildkit_py.image.pack import pack
from buildkit_py.image.unpack import read_entries, unpack
from tests.image.layers import AS_ROOT, ME, SECOND, file, one_of_each, packed, unpacked
from tests.image.tars import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    LINK,
    PIPE,
    REGULAR,
    SYMBOLIC,
    member,
    path_record,
    tar,
)
from tests.needs import need

if TYPE_CHECKING:
    from _typeshed import TraceFunction

as_root = pytest.mark.skipif(not AS_ROOT, reason="needs real root")
MINE = {"uid": ME[0], "gid": ME[1]}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A place beside the destination that nothing may touch."""
    canary = tmp_path / "canary"
    canary.mkdir(mode=0o700)
    secret = canary / "secret"
    secret.write_text("canary")
    before = (secret.stat(), sorted(os.listdir(tmp_path)), sorted(os.listdir(canary)), os.listdir("/"))
    yield canary
    after = (
        secret.stat(),
        sorted(set(os.listdir(tmp_path)) - {"out", "back"}),
        sorted(os.listdir(canary)),
        os.listdir("/"),
    )
    assert before[1:] == after[1:]
    assert before[0].st_mtime_ns == after[0].st_mtime_ns
    assert before[0].st_ino == after[0].st_ino
    assert before[0].st_nlink == after[0].st_nlink == 1
    assert secret.read_text() == "canary"


def tree(root: Path) -> dict[str, str]:
    """Every path below a directory with a letter for its kind."""
    found = {}
    for entry in diff(str(root), hash_files=False):
        found[entry.path] = {WHITEOUT: "w", DIR: "d", FILE: "f", SYMLINK: "l", HARDLINK: "h"}.get(
            entry.kind, entry.kind
        )
    return found


def comparable(entries: list[Entry]) -> list[Entry]:
    """Entries without where their bytes are."""
    return [
        entry._replace(source="", data=None, digest=None, mode=0 if entry.kind == SYMLINK else entry.mode)
        for entry in entries
    ]


# -- round trips ---------------------------------------------------------------


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
@pytest.mark.parametrize("hash_files", [True, False])
def test_what_was_packed_comes_back(tmp_path: Path, compression: str, hash_files: bool) -> None:
    entries = one_of_each()
    result, blob = packed(entries, compression=compression, hash_files=True)
    out = unpacked(blob, tmp_path / "out", result.media_type, diff_id=result.diff_id, hash_files=hash_files)
    assert comparable(diff(str(tmp_path / "out"), hash_files=False)) == comparable(sorted_(entries))
    assert (out.diff_id, out.owners_lost, out.devices_lost) == (result.diff_id, 0, 0)
    assert out.content == (result.content if hash_files else "")
    assert out.bytes == sum(entry.size for entry in entries)
    again, second = packed(diff(str(tmp_path / "out"), hash_files=False), compression=compression)
    assert (again.digest, second) == (result.digest, blob)


def sorted_(entries: list[Entry]) -> list[Entry]:
    from buildkit_py.image.order import in_order

    return in_order(entries)


_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.")
)


@st.composite
def layers(draw: st.DrawFn) -> list[Entry]:
    """A random layer: a tree of directories with files, links and whiteouts in it."""
    uid, gid = ME
    directories = [""]
    entries: dict[str, Entry] = {}
    for _ in range(draw(st.integers(0, 14))):
        parent = draw(st.sampled_from(directories))
        name = draw(_names)
        path = f"{parent}/{name}" if parent else name
        if path in entries:
            continue
        mode = draw(st.integers(0, 0o7777))
        mtime = draw(st.integers(0, 1 << 32)) * SECOND
        kind = draw(st.sampled_from([DIR, FILE, SYMLINK, HARDLINK, WHITEOUT]))
        files = [entry.path for entry in entries.values() if entry.kind == FILE]
        if kind == DIR:
            # Without the right to enter it, its contents could not be compared.
            entries[path] = Entry(path, DIR, mode | 0o700, uid, gid, mtime=mtime, opaque=draw(st.booleans()))
            directories.append(path)
        elif kind == FILE:
            data = draw(st.binary(max_size=3000))
            entries[path] = file(path, data, mode | 0o400, mtime=mtime)
        elif kind == SYMLINK:
            entries[path] = Entry(path, SYMLINK, 0o777, uid, gid, mtime=mtime, target=draw(_names))
        elif kind == HARDLINK and files:
            entries[path] = entries[files[0]]._replace(path=path, kind=HARDLINK, target=files[0], size=0, data=None)
        elif kind == WHITEOUT:
            entries[path] = Entry(path, WHITEOUT, 0)
    return list(entries.values())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=layers())
def test_any_layer_comes_back(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    out = tmp_path_factory.mktemp("layer") / "out"
    result, blob = packed(entries, hash_files=True)
    seen = unpacked(blob, out, result.media_type, diff_id=result.diff_id, hash_files=True)
    found = diff(str(out), hash_files=True)
    assert comparable(found) == comparable(sorted_(entries))
    assert content_digest(found) == result.content == seen.content
    listed = list(read_entries(io.BytesIO(blob).read, result.media_type, hash_files=True))
    assert content_digest(listed) == result.content


def test_many_small_files_are_written_by_two_processes_and_are_right(tmp_path: Path) -> None:
    entries = [Entry(f"d{number}", DIR, 0o755, *ME, mtime=3 * SECOND) for number in range(9)]
    entries += [
        file(f"d{number % 9}/f{number}", b"%d" % number * (number % 50), 0o666 if number % 7 else 0o4711, mtime=SECOND)
        for number in range(6000)
    ]
    threads = threading.active_count()
    result, blob = packed(entries)
    unpacked(blob, tmp_path / "out", result.media_type, diff_id=result.diff_id)
    assert threading.active_count() == threads
    assert comparable(diff(str(tmp_path / "out"), hash_files=False)) == comparable(sorted_(entries))
    assert content_digest(diff(str(tmp_path / "out"), hash_files=True)) == content_digest(entries)


def test_gnu_tars_own_archives_are_read(tmp_path: Path) -> None:
    need("tar")
    source = tmp_path / "source"
    deep = source / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    (deep / ("f" * 120)).write_text("long")
    (source / "to").symlink_to("t" * 180)
    (source / "ü").write_bytes(os.urandom(70_000))
    os.link(source / "ü", source / "v")
    for form in ("gnu", "pax", "posix", "ustar", "oldgnu"):
        names = ["."] if form != "ustar" else ["ü", "v"]
        blob = subprocess.run(["tar", "-c", f"--format={form}", *names], cwd=source, capture_output=True, check=True)
        out = tmp_path / form
        unpacked(blob.stdout, out)
        done = subprocess.run(
            ["diff", "-r", "--no-dereference", source, out], capture_output=True, check=False, text=True
        )
        assert done.stdout == "" or form == "ustar"
        assert (out / "v").stat().st_ino == (out / "ü").stat().st_ino


# -- whiteouts -----------------------------------------------------------------


def opaque(path: Path) -> bool:
    names = {"trusted.overlay.opaque", "user.overlay.opaque"}
    return any(os.getxattr(path, name) == b"y" for name in names & set(os.listxattr(path)))


def test_whiteouts_take_overlays_form(tmp_path: Path) -> None:
    out = tmp_path / "out"
    blob = tar(
        member(b"etc/", DIRECTORY, mode=0o700, **MINE),
        member(b"etc/.wh.passwd", **MINE),
        member(b"etc/sub/.wh..wh..opq", **MINE),
        member(b"etc/.wh..wh.plnk", **MINE),
        member(b"x/y/.wh.z", **MINE),
    )
    unpacked(blob, out)
    gone = (out / "etc/passwd").lstat()
    assert (stat.S_ISCHR(gone.st_mode), gone.st_rdev) == (True, 0)
    assert opaque(out / "etc/sub")
    assert not opaque(out / "etc")
    assert tree(out) == {"etc": "d", "etc/passwd": "w", "etc/sub": "d", "x": "d", "x/y": "d", "x/y/z": "w"}
    assert stat.S_IMODE((out / "x").stat().st_mode) == 0o755


@as_root
def test_the_opaque_mark_is_for_the_kind_of_mount(tmp_path: Path) -> None:
    blob = tar(member(b"d/.wh..wh..opq"))
    unpacked(blob, tmp_path / "root", userxattr=False)
    assert os.listxattr(tmp_path / "root/d") == ["trusted.overlay.opaque"]
    unpacked(blob, tmp_path / "user", userxattr=True)
    assert os.listxattr(tmp_path / "user/d") == ["user.overlay.opaque"]


@pytest.mark.parametrize(
    "members",
    [
        (member(b".wh.d", **MINE), member(b"d/", DIRECTORY, **MINE), member(b"d/f", **MINE)),
        (member(b"d/", DIRECTORY, **MINE), member(b"d/f", **MINE), member(b".wh.d", **MINE)),
        (member(b".wh.d", **MINE), member(b"d/f", **MINE)),
    ],
)
def test_a_whiteout_of_a_directory_that_the_layer_has_makes_it_opaque(tmp_path: Path, members: tuple[bytes]) -> None:
    unpacked(tar(*members), tmp_path / "out")
    assert opaque(tmp_path / "out/d")
    assert tree(tmp_path / "out") == {"d": "d", "d/f": "f"}


@pytest.mark.parametrize("members", [(b".wh.f", b"f"), (b"f", b".wh.f")])
def test_a_whiteout_of_a_file_that_the_layer_has_says_nothing(tmp_path: Path, members: tuple[bytes, ...]) -> None:
    unpacked(tar(*[member(name, **MINE) for name in members]), tmp_path / "out")
    assert tree(tmp_path / "out") == {"f": "f"}


@pytest.mark.parametrize("name", [b".wh.", b"a/.wh..", b"a/.wh...", b".wh..wh..opq"])  # T13
def test_whiteouts_of_what_cannot_be_are_refused(tmp_path: Path, name: bytes, outside: Path) -> None:
    with pytest.raises(SourceError, match=r"whiteout|whole root"):
        unpacked(tar(member(name)), tmp_path / "out")


# -- attacks -------------------------------------------------------------------


def inside(name: bytes = b"evil", **rest: object) -> bytes:
    return member(name, data=b"evil", **MINE, **rest)  # type: ignore[arg-type]


def test_t1_absolute_names_land_inside(tmp_path: Path, outside: Path) -> None:
    unpacked(tar(inside(b"/abs"), inside(b"//etc/x"), inside(b"./dot")), tmp_path / "out")
    assert tree(tmp_path / "out") == {"abs": "f", "dot": "f", "etc": "d", "etc/x": "f"}


@pytest.mark.parametrize("name", [b"../canary/x", b"a/../../canary/x", b"..", b"a/..", b"/../x"])
def test_t2_names_that_lead_up_are_refused(tmp_path: Path, name: bytes, outside: Path) -> None:
    for flag in (REGULAR, DIRECTORY, SYMBOLIC):
        with pytest.raises(SourceError, match="leads up"):
            unpacked(tar(member(name, flag, link=b"x")), tmp_path / f"out-{flag.decode()}")
        (tmp_path / f"out-{flag.decode()}").rmdir()


@pytest.mark.parametrize("way", [b"%s", b"..", b"../canary", b"../../../../../../../../tmp", b"/", b"/proc/self/root"])
def test_t3_t4_writing_through_a_link_stays_inside(tmp_path: Path, way: bytes, outside: Path) -> None:
    target = way.replace(b"%s", os.fsencode(outside))
    blob = tar(
        member(b"ln", SYMBOLIC, link=target, **MINE),
        inside(b"ln/secret"),
        inside(b"ln/sub/evil"),
        member(b"ln/.wh.gone", **MINE),
        member(b"ln/d/", DIRECTORY, **MINE),
        member(b"ln/l", SYMBOLIC, link=b"x", **MINE),
    )
    unpacked(blob, tmp_path / "out")
    found = tree(tmp_path / "out")
    assert found["ln"] == "l"
    assert sum(path.endswith("secret") for path in found) == 1


def test_a_layer_may_write_through_its_own_link(tmp_path: Path) -> None:
    blob = tar(
        member(b"usr/", DIRECTORY, **MINE),
        member(b"usr/lib/", DIRECTORY, mode=0o711, **MINE),
        member(b"lib", SYMBOLIC, link=b"usr/lib", **MINE),
        inside(b"lib/a"),
        inside(b"lib/b"),
        member(b"lib/c", LINK, link=b"lib/a", **MINE),
        member(b"lib/x/", DIRECTORY, mode=0o700, **MINE),
        inside(b"lib/x/d"),
    )
    result = unpacked(blob, tmp_path / "out", hash_files=True)
    out = tmp_path / "out"
    assert tree(out) == {
        "lib": "l", "usr": "d", "usr/lib": "d", "usr/lib/a": "f", "usr/lib/b": "f", "usr/lib/c": "h",
        "usr/lib/x": "d", "usr/lib/x/d": "f",
    }  # fmt: skip
    assert stat.S_IMODE((out / "usr/lib").stat().st_mode) == 0o711
    assert stat.S_IMODE((out / "usr/lib/x").stat().st_mode) == 0o700
    assert result.content == content_digest(diff(str(out), hash_files=True))


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    blob = tar(member(b"a", SYMBOLIC, link=b"b"), member(b"b", SYMBOLIC, link=b"a"), inside(b"a/x"))
    with pytest.raises(SourceError, match="more than 40 links"):
        unpacked(blob, tmp_path / "out")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="goes through f, which is no directory"):
        unpacked(tar(inside(b"f"), inside(b"f/g")), tmp_path / "out")


@pytest.mark.parametrize("target", [b"../canary/secret", b"/etc/passwd", b"%s/secret", b"ln/secret", b"missing", b"d"])
def test_t5_hard_links_lead_to_files_of_the_layer_only(tmp_path: Path, target: bytes, outside: Path) -> None:
    target = target.replace(b"%s", os.fsencode(outside))
    blob = tar(
        member(b"ln", SYMBOLIC, link=os.fsencode(outside)),
        member(b"d/", DIRECTORY),
        member(b"hard", LINK, link=target),
        inside(b"hard"),
    )
    with pytest.raises(SourceError, match=r"hard link|leads up|no directory"):
        unpacked(blob, tmp_path / "out")


def test_t6_a_hard_link_to_a_link_is_that_link(tmp_path: Path, outside: Path) -> None:
    blob = tar(
        member(b"ln", SYMBOLIC, link=os.fsencode(outside / "secret"), **MINE), member(b"hard", LINK, link=b"ln", **MINE)
    )
    unpacked(blob, tmp_path / "out")
    assert os.readlink(tmp_path / "out/hard") == str(outside / "secret")
    assert (tmp_path / "out/hard").lstat().st_ino == (tmp_path / "out/ln").lstat().st_ino


def test_t7_devices(tmp_path: Path) -> None:
    null = member(b"null", CHARACTER, device=(1, 3), mode=0o666)
    disk = member(b"disk", BLOCK, device=(254, 0), mode=0o600)
    lost = unpacked(tar(null, disk, member(b"again", LINK, link=b"null")), tmp_path / "without", privileged=False)
    assert (lost.devices_lost, os.listdir(tmp_path / "without")) == (3, [])
    if AS_ROOT:
        made = unpacked(tar(null, disk), tmp_path / "with", privileged=True)
        assert made.devices_lost == 0
        assert (tmp_path / "with/null").lstat().st_rdev == os.makedev(1, 3)
        assert stat.S_ISBLK((tmp_path / "with/disk").lstat().st_mode)
    with pytest.raises(SourceError, match="0:0, which overlays take for a whiteout"):
        unpacked(tar(member(b"forged", CHARACTER)), tmp_path / "forged")
    with pytest.raises(SourceError, match="is the device 4096:0"):
        unpacked(tar(member(b"x", CHARACTER, device=(4096, 0))), tmp_path / "large")


def test_t8_set_id_bits_and_sticky_directories_are_kept(tmp_path: Path) -> None:
    blob = tar(
        member(b"t/", DIRECTORY, mode=0o1777, **MINE),
        member(b"t/tool", data=b"x", mode=0o6755, **MINE),
        member(b"t/none", data=b"x", mode=0, **MINE),
    )
    unpacked(blob, tmp_path / "out")
    modes = {path: stat.S_IMODE((tmp_path / "out" / path).stat().st_mode) for path in ("t", "t/tool", "t/none")}
    assert modes == {"t": 0o1777, "t/tool": 0o6755, "t/none": 0}


@pytest.mark.parametrize("hash_files", [True, False])
def test_t9_the_last_of_several_wins_and_nothing_is_written_through(
    tmp_path: Path, outside: Path, hash_files: bool
) -> None:
    link = member(b"x", SYMBOLIC, link=os.fsencode(outside / "secret"), **MINE)
    blob = tar(
        inside(b"x"), member(b"y", LINK, link=b"x", **MINE), inside(b"x"), link, member(b"x", data=b"last", **MINE)
    )
    result = unpacked(blob, tmp_path / "out", hash_files=hash_files)
    assert (tmp_path / "out/x").read_bytes() == b"last"
    assert (tmp_path / "out/y").read_bytes() == b"evil"
    if hash_files:
        assert result.content == content_digest(diff(str(tmp_path / "out"), hash_files=True))


def test_t10_a_directory_that_becomes_a_link_is_gone_with_what_it_had(tmp_path: Path, outside: Path) -> None:
    blob = tar(
        member(b"d/", DIRECTORY, **MINE),
        inside(b"d/f1"),
        member(b"d/sub/", DIRECTORY, **MINE),
        member(b"d", SYMBOLIC, link=os.fsencode(outside), **MINE),
        inside(b"d/secret"),
    )
    unpacked(blob, tmp_path / "out")
    found = tree(tmp_path / "out")
    assert found["d"] == "l"
    assert "d/f1" not in found
    back = tar(member(b"d/", DIRECTORY, **MINE), inside(b"d/f"), inside(b"d"), member(b"d/", DIRECTORY, **MINE))
    unpacked(back, tmp_path / "back")
    assert tree(tmp_path / "back") == {"d": "d"}


def steps_of(work: Callable[[], object]) -> int:
    """How many lines of Python this thread runs for some work."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> TraceFunction:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("kind", ["file", "link"])
def test_replacing_many_directories_takes_steps_for_each_and_not_for_each_pair(tmp_path: Path, kind: str) -> None:
    def layer(number: int) -> bytes:
        names = [b"d%d" % place for place in range(number)]
        made = [part for name in names for part in (member(name + b"/", DIRECTORY, **MINE), inside(name + b"/f"))]
        over = [
            inside(name) if kind == "file" else member(name, SYMBOLIC, link=b"x", mode=0o777, **MINE) for name in names
        ]
        return tar(*made, *over)

    few, many = (steps_of(partial(unpacked, layer(number), tmp_path / str(number))) for number in (50, 400))
    assert set(tree(tmp_path / "400").values()) == {kind[0]}
    assert many < 10 * few


def test_a_device_that_could_not_be_made_is_replaced_as_others_are(tmp_path: Path) -> None:
    null = member(b"d/null", CHARACTER, device=(1, 3), mode=0o666)
    file_over = tar(member(b"d/", DIRECTORY, **MINE), null, inside(b"d/null"))
    lost = unpacked(file_over, tmp_path / "file", privileged=False)
    assert (lost.devices_lost, tree(tmp_path / "file")) == (1, {"d": "d", "d/null": "f"})
    again = tar(member(b"d/", DIRECTORY, **MINE), null, inside(b"d"), member(b"d/", DIRECTORY, **MINE))
    unpacked(again, tmp_path / "directory", privileged=False)
    with pytest.raises(SourceError, match="is a hard link to d/null, which is no file of it"):
        unpacked(again[:-1024] + tar(member(b"x", LINK, link=b"d/null")), tmp_path / "gone", privileged=False)


def test_a_long_name_that_is_cut_after_a_slash_is_still_a_files(tmp_path: Path) -> None:
    name = b"long/" * 20 + b"name"
    for number, front in enumerate((member(b"L", b"L", name + b"\0"), b"")):
        records = None if front else path_record(name)
        unpacked(tar(front + member(name, data=b"x", records=records, **MINE)), tmp_path / f"out{number}")
        assert (tmp_path / f"out{number}" / name.decode()).read_bytes() == b"x"


def test_t11_odd_names_and_numbers(tmp_path: Path) -> None:
    out = tmp_path / "out"
    deep = b"/".join([b"n" * 99] * 20)
    blob = tar(
        member(b"\xff\xfe\n\x1b[2J", **MINE),
        member(b"x", records=path_record(deep), **MINE),
        member(b"old", time=b"\xff" * 12, **MINE),
        member(b"far", time=b"\x80" + b"\x7f" * 11, **MINE),
        member(b"pax", records=[(b"mtime", b"-1.5")], **MINE),
    )
    unpacked(blob, out)
    names = os.listdir(os.fsencode(out))
    assert b"\xff\xfe\n\x1b[2J" in names
    assert os.path.exists(os.fsencode(out) + b"/" + deep)
    assert (out / "old").stat().st_mtime == -1
    assert (out / "pax").stat().st_mtime_ns in (-1_500_000_000, -2_000_000_000)
    assert (out / "far").stat().st_mtime > 1 << 32


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (tar(member(b"x", records=path_record(b"/".join([b"n" * 99] * 42)))), "path of more than 4095 bytes"),
        (tar(member(b"x", records=path_record(b"n" * 256))), "name of more than 255 bytes"),
        (tar(member(b"x", records=path_record(b"a\0b"))), "NUL"),
        (tar(member(b"x", records=[(b"comment", b"c" * (1 << 20))])), "extended header of more than"),
        (tar(member(b"x", b"x", size=b"\x80" + b"\xff" * 11)), "extended header of more than"),
        (tar(*[member(b"L", b"L", b"name\0")] * 3000, member(b"x")), "extended header of more than"),
        (tar(member(b"x", b"S", size=b"\x80" + b"\x7f" * 11)), "sparse format"),
        (tar(member(b"x", records=[(b"GNU.sparse.major", b"1")])), "sparse format"),
        (tar(member(b"x", size=b"\x80" + b"\x7f" * 11)), "claims"),
        (tar(member(b"x", size=b"\xff" * 12)), "negative size"),
        (tar(member(b"x", records=[(b"size", b"-5")])), "has the size"),
        (tar(member(b"x", records=[(b"uid", b"4294967295")])), "has the owner 4294967295:0"),
        (tar(member(b"x", records=[(b"mtime", b"never")])), "has the time"),
        (tar(member(b"x", b"V")), "unknown type"),
        (tar(member(b"", REGULAR)), "file without a name"),
        (tar(member(b"./", SYMBOLIC, link=b"/etc")), "its own root"),
        (tar(member(b"x", SYMBOLIC)), "symbolic link to nothing"),
        (tar(member(b"x", LINK, link=b"/")), "hard link to nothing"),
        (b"no tar at all, but text" + bytes(1000), "checksum|none"),
        (member(b"x")[:300], "truncated"),
        (member(b"x", data=b"y" * 2000)[:1500], "truncated"),
        (member(b"x", data=b"y" * 2000), "no end mark"),
        (b"", "no end mark"),
        (member(b"L", b"L", b"name\0"), "ends in an extended header"),
    ],
)
def test_t11_what_is_refused(tmp_path: Path, blob: bytes, words: str, outside: Path) -> None:
    with pytest.raises(SourceError, match=words):
        unpacked(blob, tmp_path / "out")
    if words not in ("its own root", "file without a name"):  # which only writing minds
        with pytest.raises(SourceError, match=words):
            list(read_entries(io.BytesIO(blob).read, ""))


def test_a_header_full_of_records_is_read(tmp_path: Path) -> None:
    records = [(b"k%d" % number, b"") for number in range(60_000)]
    unpacked(tar(member(b"x", records=records, **MINE)), tmp_path / "out")
    assert tree(tmp_path / "out") == {"x": "f"}


def test_t12_xattrs_are_those_of_the_list(tmp_path: Path) -> None:
    prefix = b"SCHILY.xattr."
    records = [
        (prefix + b"user.note", b"kept"),
        (prefix + b"user.overlay.opaque", b"y"),
        (prefix + b"user.overlay.redirect", b"/etc"),
        (prefix + b"trusted.overlay.opaque", b"y"),
        (prefix + b"trusted.overlay.metacopy", b""),
        (prefix + b"security.selinux", b"label"),
        (prefix + b"system.posix_acl_access", b"acl"),
    ]
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    if AS_ROOT:
        records.append((prefix + b"security.capability", capability))
    out = tmp_path / "out"
    unpacked(tar(member(b"d/", DIRECTORY, records=records, **MINE), member(b"f", records=records, **MINE)), out)
    assert os.listxattr(out / "d")[-1:] == ["user.note"]
    expected = ["security.capability", "user.note"] if AS_ROOT else ["user.note"]
    assert sorted(os.listxattr(out / "f")) == expected
    assert os.getxattr(out / "f", "user.note") == b"kept"


def test_t14_bombs(tmp_path: Path) -> None:
    bomb = gzip.compress(tar(member(b"zeros", data=bytes(8 << 20))))
    for limits in (Limits(ratio_from=1 << 20), Limits(bytes=4 << 20)):
        with pytest.raises(SourceError, match=r"unpacks to more than|claims"):
            unpacked(bomb, tmp_path / f"out{limits.bytes}", limits=limits)
    with pytest.raises(SourceError, match="more than 3 entries"):
        unpacked(tar(*[inside(b"%d" % number) for number in range(5)]), tmp_path / "many", limits=Limits(entries=3))


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_t14_truncated_at_any_point_is_an_error(tmp_path: Path, compression: str) -> None:
    result, blob = packed([file("a", os.urandom(3000)), file("b", os.urandom(3000))], compression=compression)
    for number, length in enumerate([0, 1, 100, len(blob) // 2, len(blob) - 1100]):
        with pytest.raises(PybuildError):
            unpacked(blob[:length], tmp_path / f"out{number}", result.media_type, diff_id=result.diff_id)


@pytest.mark.attack("T15")
def test_t15_a_sparse_claim_makes_no_large_file(tmp_path: Path) -> None:
    header = member(b"huge", size=b"\x80" + (1 << 39).to_bytes(11, "big"))
    with pytest.raises(SourceError, match="truncated"):
        unpacked(header + bytes(4096), tmp_path / "out")
    assert (tmp_path / "out/huge").stat().st_size <= 4096


NAMES = [b"a", b"a/b", b"a/b/c", b"l", b"l/x", b"/l/y", b"./a/", b"a/.wh.b", b".wh.l", b"l/.wh..wh..opq"]
TARGETS = [b"a", b"l", b"..", b"../../canary", b"/", b"a/b", b"l/x", b"../canary/secret"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.lists(
        st.builds(
            member,
            st.sampled_from(NAMES),
            st.sampled_from([REGULAR, LINK, SYMBOLIC, DIRECTORY, PIPE]),
            link=st.sampled_from(TARGETS),
            mode=st.just(0o755),
            uid=st.just(ME[0]),
            gid=st.just(ME[1]),
        ),
        max_size=12,
    )
)
@pytest.mark.attack("T18")
def test_no_combination_gets_out(tmp_path_factory: pytest.TempPathFactory, members: list[bytes]) -> None:
    base = tmp_path_factory.mktemp("attack")
    canary = base / "canary"
    canary.mkdir()
    (canary / "secret").write_text("canary")
    before = (canary / "secret").stat()
    try:
        result = unpacked(tar(*members), base / "out", hash_files=True)
    except SourceError:
        pass
    else:
        # An ordinary user cannot give directories that no member names to root.
        if not result.owners_lost:
            assert result.content == content_digest(diff(str(base / "out"), hash_files=True))
    after = (canary / "secret").stat()
    assert (before.st_mtime_ns, before.st_ino, after.st_nlink) == (after.st_mtime_ns, after.st_ino, 1)
    assert os.listdir(canary) == ["secret"]
    assert sorted(os.listdir(base)) == ["canary", "out"]


# -- rights and failures ---------------------------------------------------------


def test_another_digest_is_an_error(tmp_path: Path) -> None:
    result, blob = packed([file("a")])
    with pytest.raises(DigestMismatch, match=result.diff_id):
        unpacked(blob, tmp_path / "out", result.media_type, diff_id="sha256:" + "0" * 64)


@pytest.mark.skipif(AS_ROOT, reason="root can give files away")
def test_owners_that_cannot_be_given_are_an_error_or_counted(tmp_path: Path) -> None:
    blob = tar(member(b"d/", DIRECTORY, uid=1), member(b"f", uid=2, gid=3), member(b"l", SYMBOLIC, link=b"x", uid=4))
    with pytest.raises(SandboxError, match="which this process cannot give it"):
        unpacked(blob, tmp_path / "strict", ignore_owners=False)
    assert unpacked(blob, tmp_path / "loose", ignore_owners=True).owners_lost == 3


@as_root
def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    need("unshare", "mount")
    result, blob = packed([file("f", os.urandom(4 << 20))])
    (tmp_path / "blob").write_bytes(blob)
    program = (
        "import sys; from buildkit_py.image.unpack import unpack; from buildkit_py.errors import DiskFull\n"
        "try: unpack(open('blob', 'rb').read, 'small', media_type=sys.argv[1], userxattr=False, privileged=True)\n"
        "except DiskFull as full: print(full)"
    )
    (tmp_path / "small").mkdir()
    import sys

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m x small && exec "$0" -c "$1" "$2"',
         sys.executable, program, result.media_type],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "no space left while unpacking a layer" in done.stdout
    assert DiskFull.exit_code == 5


def test_a_failing_reader_reaches_the_caller_and_ends_the_threads(tmp_path: Path) -> None:
    _, blob = packed([file("f", os.urandom(4 << 20))], compression="none")
    stream = io.BytesIO(blob)

    def read(size: int) -> bytes:
        if stream.tell() > 2 << 20:
            raise ConnectionError("gone")
        return stream.read(size)

    (tmp_path / "out").mkdir()
    threads = threading.active_count()
    with pytest.raises(ConnectionError, match="gone"):
        unpack(read, str(tmp_path / "out"), media_type="x.tar", userxattr=False, privileged=False)
    assert threading.active_count() == threads


def test_the_umask_does_not_show(tmp_path: Path) -> None:
    blob = tar(member(b"d/", DIRECTORY, mode=0o777, **MINE), member(b"d/f", mode=0o666, data=b"x", **MINE))
    before = os.umask(0o077)
    try:
        unpacked(blob, tmp_path / "out")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out/d/f").stat().st_mode) == 0o666
    assert stat.S_IMODE((tmp_path / "out/d").stat().st_mode) == 0o777


# -- listing -----------------------------------------------------------------------


def test_listing_a_layer_gives_its_entries(tmp_path: Path) -> None:
    result, blob = packed(one_of_each())
    found = list(read_entries(io.BytesIO(blob).read, result.media_type))
    assert comparable(found) == comparable(sorted_(one_of_each()))


def test_pythons_own_tar_is_listed(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("dev/null")
        info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
        archive.addfile(info)
        info = tarfile.TarInfo("f")
        info.size, info.uid, info.pax_headers = 3, 3_000_000, {"SCHILY.xattr.user.a": "b"}
        archive.addfile(info, io.BytesIO(b"abc"))
    null, plain = read_entries(io.BytesIO(out.getvalue()).read, "")
    assert (null.kind, null.rdev) == (CHAR, os.makedev(1, 3))
    assert (plain.size, plain.uid, plain.xattrs) == (3, 3_000_000, (("user.a", b"b"),))


def test_pack_and_unpack_take_a_layer_apart_and_together_without_a_file(tmp_path: Path) -> None:
    out = io.BytesIO()
    result = pack([], out.write)
    assert unpacked(out.getvalue(), tmp_path / "out", result.media_type, diff_id=result.diff_id).entries == 0
