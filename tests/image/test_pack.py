"""Packing: what the blob holds, that it is the same each time, and that a changing file is noticed."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import subprocess
import tarfile
from pathlib import Path

import pytest

from buildkit_py.errors import ContextError
from buildkit_py.image.compress import decompress
from buildkit_py.image.content import content_digest, hash_file
from buildkit_py.image.entry import DIR, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.image.order import in_order
from buildkit_py.image.overlay_diff import diff
from buildkit_py.image.pack import pack
from tests.image.layers import SECOND, file, one_of_each, packed
from tests.needs import need

KINDS = ["zstd", "gzip", "none"]


def entry_for(path: Path, **rest: object) -> Entry:
    st = path.stat()
    return Entry(path.name, FILE, 0o644, size=st.st_size, mtime=st.st_mtime_ns, source=str(path), **rest)


@pytest.mark.parametrize("compression", KINDS)
def test_the_digests_are_of_what_was_written(compression: str) -> None:
    result, blob = packed(one_of_each(), compression=compression, hash_files=True)
    tar = b"".join(decompress(io.BytesIO(blob).read, compression))
    assert result.digest == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert result.diff_id == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    assert (result.size, result.bytes, result.entries) == (len(blob), len(tar), len(one_of_each()))
    assert result.content == content_digest(one_of_each())
    assert result.media_type.endswith({"zstd": "+zstd", "gzip": "+gzip", "none": ".tar"}[compression])


@pytest.mark.parametrize("compression", KINDS)
def test_the_order_of_the_entries_does_not_matter(compression: str) -> None:
    assert packed(one_of_each(), compression=compression) == packed(one_of_each()[::-1], compression=compression)


def test_small_and_large_layers_say_the_same_of_the_same_entries(tmp_path: Path) -> None:
    # The first is packed without threads, the second with them.
    small, large = b"x" * 1000, os.urandom(5 << 20)
    (tmp_path / "small").write_bytes(small)
    (tmp_path / "large").write_bytes(large)
    entries = [entry_for(tmp_path / "small"), entry_for(tmp_path / "large")]
    for chosen, data in ((entries[:1], [small]), (entries, [large, small])):
        _, blob = packed(chosen, compression="none")
        with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
            found = [tar.extractfile(member) for member in tar]
            assert [stream.read() for stream in found if stream] == data


def test_gnu_tar_finds_no_difference_to_the_tree(tmp_path: Path) -> None:
    need("tar", "zstd")
    tree = tmp_path / "tree"
    (tree / "sub" / ("long" * 40)).mkdir(parents=True)
    for number in range(300):
        (tree / "sub" / f"file-{number}").write_bytes(os.urandom(number * 37))
    (tree / "ünï").write_text("x")
    (tree / "link").symlink_to("sub/" + "t" * 150)
    os.link(tree / "ünï", tree / "again")
    blob = tmp_path / "blob"
    with blob.open("wb") as out:
        pack(diff(str(tree), hash_files=False), out.write)
    done = subprocess.run(
        f"zstd -dcq {blob} | LC_ALL=C.UTF-8 tar -d -C {tree}", shell=True, capture_output=True, text=True, check=False
    )
    # Times of a fraction of a second are not in a layer; that is all that may differ.
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "Mod time differs" not in line]
    assert lines == []


def test_times_are_whole_seconds_and_clamped_to_the_epoch() -> None:
    entries = [
        file("early", mtime=5 * SECOND + 999),
        file("late", mtime=50 * SECOND),
        Entry("d", DIR, mtime=51 * SECOND),
    ]
    with tarfile.open(fileobj=io.BytesIO(packed(entries, compression="none", epoch=10)[1])) as tar:
        assert {member.name: member.mtime for member in tar} == {"early": 5, "late": 10, "d": 10}
    assert packed(entries)[0].content == ""


@pytest.mark.parametrize("size", [0, 10, 70_000, 3 << 20])
def test_a_file_that_is_not_as_its_entry_says_is_an_error(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    good = entry_for(path)
    packed([good])
    for wrong in (
        good._replace(size=size + 1),
        good._replace(size=max(0, size - 1)) if size else good._replace(size=5),
        good._replace(mtime=good.mtime + 1),
        good._replace(digest=bytes(32)),
    ):
        with pytest.raises(ContextError, match="f changed while it was being read"):
            packed([wrong])
    assert packed([good._replace(digest=hash_file(str(path)))])[0].entries == 1
    path.write_bytes(b"1" * size)  # same size, other bytes, old time
    os.utime(path, ns=(good.mtime, good.mtime))
    if size:
        with pytest.raises(ContextError, match="changed while"):
            packed([good._replace(digest=hash_file_of(bytes(size)))])


def hash_file_of(data: bytes) -> bytes:
    from blake3 import blake3

    return blake3(data).digest()


def test_a_growing_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as out:
        out.truncate(64 << 20)  # more than may wait in the pipeline
    entry = entry_for(path)
    grown = False

    def write(_: bytes) -> None:
        nonlocal grown
        if not grown:
            grown = True
            with path.open("ab") as out:
                out.write(b"more")

    with pytest.raises(ContextError, match="changed while it was being read"):
        pack([entry], write, compression="none")


def test_a_file_that_is_written_to_with_its_time_set_back_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as out:
        out.truncate(64 << 20)
    entry = entry_for(path)
    written = False

    def write(_: bytes) -> None:
        nonlocal written
        if not written:
            written = True
            with path.open("r+b") as out:
                out.seek(-1, os.SEEK_END)
                out.write(b"1")
            os.utime(path, ns=(entry.mtime, entry.mtime))

    with pytest.raises(ContextError, match="changed while it was being read"):
        pack([entry], write, compression="none")


def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "f").write_bytes(b"secret")
    entry = entry_for(real / "f")
    (tmp_path / "dir").symlink_to("real")
    (tmp_path / "link").symlink_to("real/f")
    os.mkfifo(tmp_path / "pipe")
    for source in ("dir/f", "link", "pipe", "missing"):
        with pytest.raises(ContextError, match="changed while"):
            packed([entry._replace(source=str(tmp_path / source))])


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    entry = entry_for(path)
    path.chmod(0)
    with pytest.raises(ContextError, match=r"f cannot be read \(Permission denied\)"):
        packed([entry])


@pytest.mark.parametrize("name", [".wh.x", "a/.wh.", "a/.wh..wh..opq"])
def test_names_that_readers_take_for_whiteouts_are_refused(name: str) -> None:
    with pytest.raises(ContextError, match=r"begins with `\.wh\.`"):
        packed([file(name)])


def test_an_error_of_the_writer_reaches_the_caller_and_ends_the_threads() -> None:
    import threading

    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    before = threading.active_count()
    for size in (100, 40 << 20):
        with pytest.raises(OSError, match="No space"):
            pack([file("f", os.urandom(size))], full)
    assert threading.active_count() == before


def test_a_hard_link_is_one_and_a_link_of_another_kind_stays() -> None:
    entries = [file("a", b"1"), Entry("b", HARDLINK, target="a"), Entry("c", SYMLINK, target="/etc/a")]
    with tarfile.open(fileobj=io.BytesIO(packed(entries, compression="none")[1])) as tar:
        assert [(member.name, member.type, member.linkname) for member in tar] == [
            ("a", tarfile.REGTYPE, ""),
            ("b", tarfile.LNKTYPE, "a"),
            ("c", tarfile.SYMTYPE, "/etc/a"),
        ]


def test_the_digests_are_those_of_the_files_in_their_order() -> None:
    digests = bytearray()
    packed(one_of_each(), digests=digests)
    assert digests == b"".join([hash_file_of(e.data) for e in in_order(one_of_each()) if e.kind == FILE])


def test_memory_stays_small_for_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as out:
        out.truncate(1 << 30)  # a sparse file costs no disk, and reads as zeros
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = pack([entry_for(path)], lambda _: None, hash_files=True)
    assert result.bytes > 1 << 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
