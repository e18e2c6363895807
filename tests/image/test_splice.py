"""Splicing: byte for byte what packing everything gives, from an older blob and what changed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.errors import ContextError, SourceError
from buildkit_py.image.entry import DIR, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.order import in_order
from buildkit_py.image.overlay_diff import laid_over
from buildkit_py.image.pack import pack
from buildkit_py.image.splice import Members, splice
from tests.image.layers import SECOND, file

KINDS = ["zstd", "gzip", "none"]


def tree(*names: str) -> list[Entry]:
    """Files of these paths, with the directories above them; the bytes are made of the path."""
    made: dict[str, Entry] = {}
    for name in names:
        made[name] = file(name, name.encode("utf-8", "surrogateescape") * 50, mtime=SECOND)
        while name := name.rpartition("/")[0]:
            made[name] = Entry(name, DIR, 0o755, mtime=SECOND)
    return in_order(made.values())


def packed(entries: list[Entry], compression: str = "zstd") -> tuple[Members, bytes]:
    out, ends = io.BytesIO(), bytearray()
    result = pack(entries, out.write, compression=compression, ends=ends)
    return Members(
        result.diff_id, tuple(entry.path for entry in in_order(entries)), memoryview(ends).cast("Q")
    ), out.getvalue()


def check(old: list[Entry], changes: list[Entry], compression: str = "zstd") -> None:
    members, blob = packed(old, compression)
    again = Members.load(members.dump())
    assert again is not None
    spliced, whole = io.BytesIO(), io.BytesIO()
    result = splice(again, io.BytesIO(blob).read, changes, spliced.write, compression=compression)
    assert result == pack(laid_over(old, changes), whole.write, compression=compression)
    assert spliced.getvalue() == whole.getvalue()


OLD = tree("a", "b/1", "b/2", "b.txt", "c/d/e", "c/f", "ünï/x", "z")


@pytest.mark.parametrize("compression", KINDS)
@pytest.mark.parametrize(
    "changes",
    [
        [],
        [file("b/1", b"other")],
        [file("a", b""), file("z", os.urandom(70_000))],
        [file("0", b"first"), file("zz", b"last")],
        [file("b/0", b"new"), file("b/1", b"changed")],
        [Entry("c", WHITEOUT)],
        [Entry("b", WHITEOUT), file("b.a", b"between the directory and what is in it")],
        [Entry("b/2", WHITEOUT), Entry("b/3", SYMLINK, 0o777, target="1" * 150)],
        [Entry("c", DIR, 0o700, mtime=9 * SECOND, opaque=True)],
        [file("ünï/y", b"not ASCII"), file("no-utf8-\udcff", b"bytes")],
        [Entry(entry.path, WHITEOUT) for entry in OLD if "/" not in entry.path],
    ],
)
def test_it_gives_what_packing_gives(changes: list[Entry], compression: str) -> None:
    check(OLD, changes, compression)


NAMES = st.sampled_from(["a", "b", "a.b", "a/b", "a/b/c", "a/c", "a0", "b/a", "b/a.x", "b/ü", "c/d/e", "é"])


@given(st.sets(NAMES, min_size=1), st.sets(NAMES), st.sets(NAMES))
@settings(max_examples=150, deadline=None)
def test_any_change_of_any_tree(before: set[str], changed: set[str], gone: set[str]) -> None:
    files = {name for name in before if not any(other.startswith(f"{name}/") for other in before)}
    old = tree(*files)
    kinds = {entry.path: entry.kind for entry in old}
    lost = {name for name in gone if name in kinds}
    lost = {name for name in lost if not any(name.startswith(f"{other}/") for other in lost)}
    new = [
        file(name, b"new")
        for name in changed
        if kinds.get(name) != DIR and not any(f"{name}/".startswith(f"{other}/") for other in lost)
    ]
    check(old, [*new, *[Entry(name, WHITEOUT) for name in lost]])


def test_a_large_layer_goes_through_in_pieces() -> None:
    old = [file(f"f{number:03}", os.urandom(300_000), mtime=SECOND) for number in range(40)]
    check(old, [file("f007", b"small"), file("f020", os.urandom(2_000_000)), Entry("f039", WHITEOUT)])


def test_changed_files_are_read_and_must_be_what_they_were(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"x" * 100)
    seen = source.stat()
    entry = Entry("b/1", "file", 0o644, size=100, mtime=seen.st_mtime_ns, source=str(source))
    check(OLD, [entry])
    source.write_bytes(b"y" * 101)
    with pytest.raises(ContextError, match="changed while"):
        check(OLD, [entry])


def test_a_blob_that_is_not_what_the_members_say_is_refused() -> None:
    members, blob = packed(OLD)
    _, other = packed(tree("a", "b/1"))
    for data, problem in ((other, ValueError), (blob[: len(blob) // 2], ValueError), (b"x" * 5000, SourceError)):
        with pytest.raises((problem, ValueError)):
            splice(members, io.BytesIO(data).read, [file("a", b"new")], lambda _: None, compression="zstd")
    with pytest.raises(ValueError, match="was not there"):
        splice(members, io.BytesIO(blob).read, [Entry("nothing", WHITEOUT)], lambda _: None, compression="zstd")


def test_members_of_another_form_are_none() -> None:
    members, _ = packed(OLD)
    assert Members.load(b"") is None
    assert Members.load(members.dump()[:-3]) is None
    assert Members.load(members.replace(ends=members.ends[1:]).dump()) is None
