"""Inventories: every difference between two lists of entries is found, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.executor.inventory import Inventory, inventory_of
from buildkit_py.image.entry import CHAR, DIR, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildkit_py.image.order import in_order


def entry(path: str, **rest: object) -> Entry:
    fields = {"size": 3, "mtime": 5, "source": f"/{path}", "digest": path.encode().ljust(32), **rest}
    return Entry(path, FILE, 0o644, **fields)


ENTRIES = in_order(
    [
        Entry("d", DIR, 0o755, mtime=1),
        *[entry(f"d/f{number:04}") for number in range(1000)],
        Entry("d/link", SYMLINK, 0o777, target="f0001"),
        Entry("d/hard", HARDLINK, 0o644, target="d/f0002"),
    ]
)


def listed(entries: list[Entry]) -> Inventory:
    inventory = inventory_of(in_order(entries))
    assert inventory is not None
    again = Inventory.load(b"".join(inventory.dump()))
    assert again == inventory
    return inventory


def differing(entries: list[Entry]) -> tuple[list[str], list[str], bool]:
    new = listed(entries)
    changes = listed(ENTRIES).changes_to(new)
    return [new.paths[place] for place in changes.places], changes.lost, changes.turned


def with_changed(path: str, **changes: object) -> list[Entry]:
    return [one._replace(**changes) if one.path == path else one for one in ENTRIES]


def test_the_same_entries_do_not_differ() -> None:
    assert differing(list(ENTRIES)) == ([], [], False)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("d/f0500", {"digest": b"other".ljust(32)}),
        ("d/f0500", {"mtime": 6}),
        ("d/f0500", {"mode": 0o755}),
        ("d/f0500", {"uid": 2**32 - 2}),
        ("d/f0500", {"gid": 7}),
        ("d/f0500", {"size": 2**40}),
        ("d/f0500", {"xattrs": (("user.note", b"x"),)}),
        ("d/f0500", {"kind": SYMLINK, "target": "f0001"}),
        ("d/link", {"target": "f0003"}),
        ("d/hard", {"target": "d/f0003"}),
        ("d", {"mode": 0o700}),
    ],
)
def test_each_attribute_counts(path: str, change: dict[str, object]) -> None:
    assert differing(with_changed(path, **change)) == ([path], [], False)


def test_attributes_that_are_gone_count() -> None:
    before = listed(with_changed("d/f0500", xattrs=(("user.note", b"x"),)))
    assert before.changes_to(listed(ENTRIES)).places == [ENTRIES.index(entry("d/f0500"))]


def test_new_and_lost_ones() -> None:
    entries = [one for one in ENTRIES if one.path not in ("d/f0001", "d/f0999")]
    assert differing([*entries, entry("a"), entry("z")]) == (["a", "z"], ["d/f0001", "d/f0999"], False)
    assert differing([*entries, entry("d/f0001", mtime=9)]) == (["d/f0001"], ["d/f0999"], False)


def test_what_becomes_a_directory_is_told() -> None:
    assert differing(with_changed("d/f0500", kind=DIR)) == (["d/f0500"], [], True)
    other = [*with_changed("d/f0500", kind=DIR), entry("new")]
    assert differing(other) == (["d/f0500", "new"], [], True)


def test_what_it_cannot_say_has_no_listing() -> None:
    for odd in (
        Entry("null", CHAR, 0o666, rdev=259),
        Entry("gone", WHITEOUT),
        Entry("o", DIR, opaque=True),
        entry("unread", digest=None),
    ):
        assert inventory_of([odd]) is None
    unread = [one._replace(digest=None) for one in ENTRIES]
    assert inventory_of(unread) is None
    assert inventory_of(unread, b"".join([one.digest for one in ENTRIES if one.kind == FILE])) == listed(ENTRIES)
    assert inventory_of(unread, b"") is None


def test_other_bytes_are_no_listing() -> None:
    data = b"".join(listed(ENTRIES).dump())
    assert Inventory.load(data[:-9]) is None
    assert Inventory.load(b"") is None


@given(st.lists(st.integers(0, 60)), st.lists(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_whatever_comes_and_goes(before: list[int], after: list[int], edited: set[int]) -> None:
    """Against the definition: a place is listed if its path is new or its entry another."""
    old = [entry(f"f{number:02}") for number in sorted(set(before))]
    new = [entry(f"f{number:02}", mtime=5 + (number in edited)) for number in sorted(set(after))]
    changes = listed(old).changes_to(listed(new))
    known = {one.path: one for one in old}
    assert changes.places == [place for place, one in enumerate(new) if known.get(one.path) != one]
    assert changes.lost == [one.path for one in old if one.path not in {one.path for one in new}]
