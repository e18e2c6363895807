"""The content digest: its frozen bytes, what changes it and what does not."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from buildkit_py.image.content import content_digest, hash_file
from buildkit_py.image.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry

SAMPLE = [
    Entry("bin", DIR, 0o755),
    Entry("bin/dev", CHAR, 0o666, rdev=259),
    Entry("bin/disk", BLOCK, 0o660, 0, 6, rdev=1793),
    Entry("bin/f", FILE, 0o644, 1, 2, 3, 4, data=b"abc"),
    Entry("bin/g", HARDLINK, 0o644, 1, 2, target="bin/f"),
    Entry("bin/l", SYMLINK, 0o777, 3, 4, target="f"),
    Entry("bin/p", FIFO, 0o600),
    Entry("gone", WHITEOUT, 0),
    Entry("new", DIR, 0o700, opaque=True, xattrs=(("user.a", b"1"),)),
]


def test_the_bytes_are_frozen() -> None:
    from blake3 import blake3

    body = blake3(b"abc").digest()
    expected = (
        b"pybuild-content-1\n"
        b"d3:bin755,0,0;-0;"
        b"c7:bin/dev666,0,0;259;0;"
        b"b8:bin/disk660,0,6;1793;0;"
        b"f5:bin/f644,1,2;" + body + b"0;"
        b"l5:bin/g644,1,2;5:bin/f0;"
        b"s5:bin/l777,3,4;1:f0;"
        b"p5:bin/p600,0,0;0;"
        b"w4:gone0,0,0;0;"
        b"d3:new700,0,0;o1;6:user.a1:1"
    )
    assert content_digest(SAMPLE) == blake3(expected).hexdigest()


def test_nothing_but_the_order_of_finding_and_the_times_is_left_out() -> None:
    shuffled = [entry._replace(mtime=entry.mtime + 5) for entry in SAMPLE]
    random.Random(1).shuffle(shuffled)
    # The other name of the hard-linked file found first.
    turned = [
        entry._replace(kind=FILE, size=3, data=b"abc", target="") if entry.path == "bin/g" else entry
        for entry in shuffled
    ]
    turned = [
        entry._replace(kind=HARDLINK, size=0, data=None, target="bin/g") if entry.path == "bin/f" else entry
        for entry in turned
    ]
    assert content_digest(shuffled) == content_digest(SAMPLE) == content_digest(turned)


@pytest.mark.parametrize("index", range(len(SAMPLE)))
@pytest.mark.parametrize(
    "change",
    [
        {"path": "other"},
        {"mode": 0o4711},
        {"uid": 9},
        {"gid": 9},
        {"target": "else"},
        {"rdev": 9},
        {"xattrs": (("user.b", b""),)},
        {"opaque": True},
        {"data": b"abd"},
        {"kind": FIFO},
    ],
)
def test_every_other_change_shows(index: int, change: dict[str, object]) -> None:
    entry = SAMPLE[index]
    field = next(iter(change))
    said_by = {"target": (SYMLINK, HARDLINK), "rdev": (CHAR, BLOCK), "opaque": (DIR,), "data": (FILE,)}
    plain = entry.kind == WHITEOUT and field in ("mode", "uid", "gid", "xattrs")
    # A further name of a file shows that file's attributes.
    linked = entry.kind == HARDLINK and field in ("mode", "uid", "gid", "xattrs")
    ignored = plain or linked or (entry.kind == SYMLINK and field == "mode")
    ignored = ignored or (field in said_by and entry.kind not in said_by[field])
    changed = [*SAMPLE[:index], entry._replace(**change), *SAMPLE[index + 1 :]]
    same = changed == SAMPLE
    if entry.path == "bin/f" and field in ("path", "kind"):
        changed = [other for other in changed if other.kind != HARDLINK]
    if field == "target" and entry.kind == HARDLINK:
        changed[index] = entry._replace(target="bin/p")
    assert (content_digest(changed) == content_digest(SAMPLE)) == (ignored or same)


def test_files_are_read_where_no_digest_is_known(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc" * 500_000)
    source = Entry("f", FILE, 0o644, size=1_500_000, source=str(path))
    known = source._replace(source="", digest=hash_file(str(path)))
    data = source._replace(source="", data=path.read_bytes())
    assert content_digest([source]) == content_digest([known]) == content_digest([data])


def test_hash_file_neither_follows_links_nor_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/hostname")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match=r"regular|symbolic"):
            hash_file(str(tmp_path / name))
