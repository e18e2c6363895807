"""ADD of archives: known by content, kept inside the root, damage told from "no archive".

The attack cases T1 to T17 as ADD sees them; image/test_unpack has them for layers.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.errors import BuildfileError, ContextError
from buildkit_py.executor import unpack_archive
from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.executor.copy_plan import plan
from buildkit_py.executor.union_tree import UnionTree
from buildkit_py.executor.unpack_archive import archive_entries
from buildkit_py.graph.op import Copy, CopyPath
from buildkit_py.image.compress import compressor
from buildkit_py.image.entry import CHAR, DIR, FILE, HARDLINK, SYMLINK, Entry
from buildkit_py.image.limits import Limits
from buildkit_py.image.pack import pack
from buildkit_py.image.union import Union
from tests.image.tars import CHARACTER, DIRECTORY, LINK, SYMBOLIC, member, path_record, tar


def zstd(data: bytes) -> bytes:
    stream = compressor("zstd")
    return stream.compress(data) + stream.flush()


PLAIN = tar(
    member(b"d/", DIRECTORY, mode=0o711, uid=5, gid=6),
    member(b"d/f", data=b"small", mode=0o4755, uid=7, gid=8),
    member(b"d/big", data=b"b" * 100_000),
    member(b"l", SYMBOLIC, link=b"d/f"),
    member(b"h", LINK, link=b"d/f"),
)
FORMS = {
    "tar": bytes,
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}


@pytest.fixture
def work(tmp_path: Path) -> str:
    path = tmp_path / "work"
    path.mkdir()
    return str(path)


def source(tmp_path: Path, data: bytes, name: str = "archive") -> UnionTree:
    root = tmp_path / "source"
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(data)
    return UnionTree(Union([str(root)]))


def add(
    tree: UnionTree, work: str, dest: str = "/n/", base: Union | None = None, **options: object
) -> dict[str, Entry]:
    op = Copy((CopyPath("archive"),), dest, unpack=True, **options)  # type: ignore[arg-type]
    entries = plan(op, [tree], base, work=work)
    pack(entries, lambda _: None)  # what is planned can be packed
    return {entry.path: entry for entry in entries}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_known_by_its_content(tmp_path: Path, work: str, form: str) -> None:
    found = add(source(tmp_path, FORMS[form](PLAIN)), work)
    assert {path: entry.kind for path, entry in found.items()} == {
        "n": DIR, "n/d": DIR, "n/d/big": FILE, "n/d/f": FILE, "n/h": HARDLINK, "n/l": SYMLINK,
    }  # fmt: skip
    assert found["n"].mode == 0o755
    assert (oct(found["n/d"].mode), found["n/d"].uid, found["n/d"].gid) == ("0o711", 5, 6)
    # h sorts after d/f, so d/f is the file of the two.
    assert (oct(found["n/d/f"].mode), found["n/d/f"].data, found["n/h"].target) == ("0o4755", b"small", "n/d/f")
    assert Path(found["n/d/big"].source).read_bytes() == b"b" * 100_000
    assert found["n/d/big"].source.startswith(work)


def test_chown_forces_the_owner_and_unpack_false_copies(tmp_path: Path, work: str) -> None:
    tree = source(tmp_path, PLAIN)
    found = add(tree, work, owner="3:4")
    assert {(entry.uid, entry.gid) for entry in found.values()} == {(3, 4)}
    (entry,) = plan(Copy((CopyPath("archive"),), "/x"), [tree], None)
    assert (entry.path, entry.size) == ("x", len(PLAIN))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        bytes(512),
        bytes(10240),
        gzip.compress(b"text", mtime=0),
        PLAIN[:300],
        b"\x1f\x8b broken",
        PLAIN[1:],
    ],
)
def test_what_is_no_archive_is_copied(tmp_path: Path, work: str, data: bytes) -> None:
    found = add(source(tmp_path, data), work)
    assert list(found) == ["n", "n/archive"]
    assert found["n/archive"].size == len(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PLAIN[:-2000], "truncated"),
        (gzip.compress(PLAIN, mtime=0)[:-20], "truncated gzip"),
        (gzip.compress(PLAIN, mtime=0)[:-8], "truncated gzip"),  # all but the check sum
        (gzip.compress(PLAIN, mtime=0)[:-8] + bytes(8), "damaged gzip"),
        (tar(member(b"ok"))[:512] + b"garbage" * 200, "damaged"),
        (tar(member(b"f"), member(b"h", LINK, link=b"/etc/passwd")), "no file of it"),
        (tar(member(b"f"), member(b"h", LINK, link=b"later"), member(b"later")), "no file of it"),
        (tar(member(b"f"), member(b"x", records=path_record(b"n" * 300))), "name of more than 255"),
        (tar(member(b"f"), member(b"x", CHARACTER)), "0:0"),
        (tar(member(b"f"), member(b"x", b"S")), "sparse"),
    ],
)
def test_a_damaged_archive_is_an_error(tmp_path: Path, work: str, data: bytes, words: str) -> None:
    with pytest.raises(ContextError, match=words) as caught:
        add(source(tmp_path, data), work)
    assert "archive" in caught.value.message


@pytest.mark.parametrize("form", ["gz", "bz2", "xz"])
def test_what_follows_the_last_member_is_no_part_of_it(tmp_path: Path, work: str, form: str) -> None:
    found = add(source(tmp_path, FORMS[form](PLAIN)), work)
    for behind in (b"x", b"\0" * 1000 + b"a signature of it"):
        assert add(source(tmp_path, FORMS[form](PLAIN) + behind), work).keys() == found.keys()


def test_t1_t2_names_are_clamped_to_the_destination(tmp_path: Path, work: str) -> None:
    data = tar(
        member(b"/abs"),
        member(b"../up"),
        member(b"a/../../../up2"),
        member(b"./dot"),
        member(b"h", LINK, link=b"/../abs"),
    )
    found = add(source(tmp_path, data), work)
    # The name that sorts first leads a file with several names.
    assert list(found) == ["n", "n/abs", "n/dot", "n/h", "n/up", "n/up2"]
    assert found["n/h"].target == "n/abs"


def test_t3_t4_links_in_the_archive_lead_nowhere_but_below_the_destination(tmp_path: Path, work: str) -> None:
    data = tar(
        member(b"ln", SYMBOLIC, link=b"/etc"), member(b"ln/evil", data=b"e"),
        member(b"up", SYMBOLIC, link=b"../../../.."), member(b"up/evil", data=b"e"),
    )  # fmt: skip
    found = add(source(tmp_path, data), work)
    assert list(found) == ["n", "n/etc", "n/etc/evil", "n/evil", "n/ln", "n/up"]


def test_links_of_the_base_are_followed_but_a_directory_takes_their_place(tmp_path: Path, work: str) -> None:
    root = tmp_path / "base"
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "full").mkdir()
    (root / "full/x").touch()
    (root / "f").touch()
    base = Union([str(root)])
    tree = source(tmp_path, tar(member(b"lib/so", data=b"1")))
    assert list(add(tree, work, "/", base)) == ["usr", "usr/lib", "usr/lib/so"]
    tree = source(tmp_path, tar(member(b"lib/", DIRECTORY), member(b"lib/so", data=b"1")))
    assert list(add(tree, work, "/", base)) == ["lib", "lib/so"]
    # As tar does it, and other than COPY: a file takes a directory's place, and the other way round.
    tree = source(tmp_path, tar(member(b"full", data=b"1"), member(b"f/", DIRECTORY), member(b"f/g")))
    found = add(tree, work, "/", base)
    assert {path: entry.kind for path, entry in found.items()} == {"full": FILE, "f": DIR, "f/g": FILE}
    source(tmp_path, tar(member(b"full")), "first")
    tree = source(tmp_path, tar(member(b"full/", DIRECTORY)), "second")
    (entry,) = plan(Copy((CopyPath("first"), CopyPath("second")), "/", unpack=True), [tree], base, work=work)
    assert (entry.path, entry.kind, entry.opaque) == ("full", DIR, True)


def test_t9_t10_the_last_of_several_wins(tmp_path: Path, work: str) -> None:
    data = tar(
        member(b"x", data=b"1"), member(b"y", LINK, link=b"x"), member(b"x", SYMBOLIC, link=b"/etc/passwd"),
        member(b"x", data=b"last"), member(b"d/", DIRECTORY), member(b"d/f"), member(b"d", SYMBOLIC, link=b"/etc"),
    )  # fmt: skip
    found = add(source(tmp_path, data), work)
    # The link was one to the file that had the name then.
    assert (found["n/y"].kind, found["n/y"].data) == (FILE, b"1")
    assert (found["n/x"].data, found["n/d"].target) == (b"last", "/etc")
    assert "n/d/f" not in found


def test_links_of_a_file_that_another_replaces_stay_one_file(tmp_path: Path, work: str) -> None:
    data = tar(
        member(b"x", data=b"1"), member(b"y", LINK, link=b"x"), member(b"z", LINK, link=b"x"),
        member(b"y", LINK, link=b"x"), member(b"x", data=b"2"),
        member(b"w", LINK, link=b"y"), member(b"y", data=b"3"),
    )  # fmt: skip
    found = add(source(tmp_path, data), work)
    assert {path: entry.data for path, entry in found.items() if entry.kind == FILE} == {
        "n/x": b"2",
        "n/y": b"3",
        "n/w": b"1",
    }
    assert (found["n/z"].kind, found["n/z"].target) == (HARDLINK, "n/w")
    data = tar(
        member(b"x", data=b"1"), member(b"y", LINK, link=b"x"), member(b"z", LINK, link=b"x"),
        member(b"y", LINK, link=b"x"), member(b"x", data=b"2"),
    )  # fmt: skip
    found = add(source(tmp_path, data), work)
    assert sorted((path, entry.data or entry.target) for path, entry in found.items() if path != "n") == [
        ("n/x", b"2"),
        ("n/y", b"1"),
        ("n/z", "n/y"),
    ]


def test_an_archive_without_an_end_mark(tmp_path: Path, work: str) -> None:
    """tar(1) and docker do without it; zstd tells by nothing else that its data was cut short."""
    whole = tar(member(b"x", data=b"y" * 2000))
    bare = whole[: 512 + 2048]
    assert add(source(tmp_path, bare), work)["n/x"].size == 2000
    with pytest.raises(ContextError, match="no end mark"):
        add(source(tmp_path, zstd(bare)), work)


def test_t13_names_of_whiteouts_are_refused(tmp_path: Path, work: str) -> None:
    with pytest.raises(ContextError, match=r"begins with `\.wh\.`"):
        add(source(tmp_path, tar(member(b".wh.passwd"))), work)


def test_t14_bombs(tmp_path: Path, work: str) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(tar(member(b"f"), member(b"zeros", data=bytes(8 << 20)))))
    entry = Entry("bomb", FILE, size=path.stat().st_size, source=str(path))
    with pytest.raises(ContextError, match="unpacks to more than"):
        archive_entries(entry, work, Limits(ratio_from=1 << 20))
    with pytest.raises(ContextError, match=r"claims|unpacks"):
        archive_entries(entry, work, Limits(bytes=4 << 20))


def test_two_archives_share_a_work_directory(tmp_path: Path, work: str) -> None:
    source(tmp_path, tar(member(b"a", data=b"1" * 50_000)), "first")
    tree = source(tmp_path, tar(member(b"b", data=b"2" * 50_000)), "second")
    entries = plan(Copy((CopyPath("first"), CopyPath("second")), "/", unpack=True), [tree], None, work=work)
    assert [Path(entry.source).read_bytes()[:1] for entry in entries] == [b"1", b"2"]


def test_t17_what_python_writes_is_read(tmp_path: Path, work: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz", format=tarfile.GNU_FORMAT) as archive:
        for number in range(50):
            info = tarfile.TarInfo(f"{'long/' * 30}{number}")
            info.size, info.mtime = 30_000, 1234.5  # type: ignore[assignment]
            archive.addfile(info, io.BytesIO(os.urandom(30_000)))
        null = tarfile.TarInfo("null")
        null.type, null.devmajor, null.devminor = tarfile.CHRTYPE, 1, 3
        archive.addfile(null)
    found = add(source(tmp_path, out.getvalue()), work)
    assert found["n/null"].kind == CHAR
    assert sum(entry.kind == FILE for entry in found.values()) == 50


def test_the_root_of_an_archive_gives_the_destination_its_attributes(tmp_path: Path, work: str) -> None:
    tree = source(tmp_path, tar(member(b"./", DIRECTORY, mode=0o700, uid=9), member(b"./f")))
    assert (oct(add(tree, work)["n"].mode), add(tree, work + "/..")["n"].uid) == ("0o700", 9)
    assert list(add(tree, work, "/")) == ["f"]


def test_a_file_in_the_way_is_an_error(tmp_path: Path, work: str) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/n").touch()
    with pytest.raises(BuildfileError, match="cannot copy to non-directory: /n"):
        add(source(tmp_path, PLAIN), work, "/n", Union([str(tmp_path / "base")]))


def test_without_a_work_directory_large_files_have_no_place(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no work directory"):
        add(source(tmp_path, PLAIN), "")


# an archive that changes


def listed_archive(top: Path, data: bytes, *, hashed: bool) -> Entry:
    """An archive in a context, as it is when the key of an ADD is made."""
    path = top / "archive"
    path.write_bytes(data)
    os.utime(path, ns=(10**18, 10**18))
    tree = ContextTree(str(top))
    tree.hash_files = hashed
    entry = tree.lookup("archive")
    assert entry is not None
    return entry


@pytest.mark.parametrize(("given_time", "kept"), [(-5_000_000_000, -(1 << 31)), (1 << 40, 1 << 33)])
def test_times_that_no_file_system_keeps_are_those_that_it_would_keep(
    tmp_path: Path, given_time: int, kept: int
) -> None:
    """Not in memory, so that it lies in a file on the way, which has to be as its entry says."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("f")
        info.size, info.mtime = 20_000_000, given_time
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with tempfile.TemporaryDirectory() as work:  # on a disk, mostly
        entries = archive_entries(listed_archive(tmp_path, out.getvalue(), hashed=False), work)
        assert entries is not None
        assert [entry.mtime for entry in entries] == [kept * 10**9]
        pack(entries, lambda piece: None, compression="none")


def rewrite(entry: Entry, data: bytes) -> None:
    """Other bytes with the old time."""
    Path(entry.source).write_bytes(data)
    os.utime(entry.source, ns=(entry.mtime, entry.mtime))


def test_an_archive_is_unpacked_from_the_bytes_of_its_key(tmp_path: Path, work: str) -> None:
    entry = listed_archive(tmp_path, PLAIN, hashed=True)
    assert archive_entries(entry, work) is not None
    other = PLAIN.replace(b"small", b"other")
    assert len(other) == len(PLAIN)
    assert other != PLAIN
    rewrite(entry, other)
    with pytest.raises(ContextError, match="archive changed while it was being read"):
        archive_entries(entry, work)


@pytest.mark.parametrize("data", [PLAIN + bytes(512), PLAIN])
def test_an_archive_that_changed_since_it_was_listed_is_an_error(tmp_path: Path, work: str, data: bytes) -> None:
    entry = listed_archive(tmp_path, PLAIN, hashed=False)
    rewrite(entry, data)
    if data == PLAIN:
        os.utime(entry.source, ns=(0, 0))
    with pytest.raises(ContextError, match="archive changed while it was being read"):
        archive_entries(entry, work)


def test_an_archive_that_changes_while_it_is_unpacked_is_an_error(
    tmp_path: Path, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = listed_archive(tmp_path, PLAIN, hashed=False)
    spool = unpack_archive._spool

    def meanwhile(*arguments: object) -> str:
        rewrite(entry, PLAIN)  # whatever is written: that it was written to is seen
        return spool(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(unpack_archive, "_spool", meanwhile)
    with pytest.raises(ContextError, match="archive changed while it was being read"):
        archive_entries(entry, work)


@pytest.mark.parametrize("form", FORMS)
def test_the_digest_is_that_of_all_bytes(tmp_path: Path, work: str, form: str) -> None:
    digests: dict[str, bytes] = {}
    entry = listed_archive(tmp_path, FORMS[form](PLAIN), hashed=True)
    archive_entries(entry, work, digests=digests)
    assert digests == {entry.source: entry.digest}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["", *"abcd"])), min_size=1, max_size=9))
def test_names_and_links_that_come_twice_are_what_tar_makes_of_them(members: list[tuple[str, str]]) -> None:
    there: set[str] = set()
    parts = []
    for number, (name, link) in enumerate(members):
        if link in there - {name}:
            parts.append(member(name.encode(), LINK, link=link.encode()))
        else:
            parts.append(member(name.encode(), data=b"%d" % number))
        there.add(name)
    data = tar(*parts)
    with tempfile.TemporaryDirectory() as made:
        subprocess.run(("tar", "-x", "-C", made), input=data, check=True)
        nodes = {name: os.stat(f"{made}/{name}").st_ino for name in os.listdir(made)}
        wanted = {
            name: (Path(made, name).read_bytes(), {other for other in nodes if nodes[other] == node})
            for name, node in nodes.items()
        }
    entries = {entry.path: entry for entry in archive_entries(Entry("a", FILE, size=len(data), data=data), "") or ()}
    leader = {path: entry.target if entry.kind == HARDLINK else path for path, entry in entries.items()}
    assert wanted == {
        path: (entries[leader[path]].data, {other for other in entries if leader[other] == leader[path]})
        for path in entries
    }
