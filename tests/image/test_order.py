"""The order of entries, and which name of a hard-linked file leads."""

from __future__ import annotations

import random

import pytest

from buildkit_py.image.entry import DIR, FILE, HARDLINK, Entry
from buildkit_py.image.order import in_order, sorted_names


def test_paths_sort_by_their_bytes_so_parents_come_first() -> None:
    names = ["a", "a-b", "a/b", "a/b/c", "b", "\udcff", "é", "\U0001f600"]
    expected = sorted(names, key=lambda name: name.encode("utf-8", "surrogateescape"))
    entries = [Entry(name, DIR) for name in names]
    random.Random(3).shuffle(entries)
    assert [entry.path for entry in in_order(entries)] == expected
    assert sorted_names(reversed(names)) == expected


def test_a_path_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="two entries for the path 'x'"):
        in_order([Entry("x", DIR), Entry("y", DIR), Entry("x", FILE)])


def test_the_name_that_sorts_first_is_the_file() -> None:
    body = {"mode": 0o640, "uid": 7, "size": 3, "source": "/s"}
    entries = [
        Entry("z", FILE, **body),
        Entry("a", HARDLINK, target="m"),
        Entry("m", HARDLINK, target="z"),
    ]
    first, second, third = in_order(entries)
    assert first == Entry("a", FILE, **body)
    assert second == Entry("m", HARDLINK, 0o640, 7, target="a")
    assert third == Entry("z", HARDLINK, 0o640, 7, target="a")


def test_a_link_to_what_is_elsewhere_and_links_in_a_circle_stay() -> None:
    entries = [Entry("a", HARDLINK, target="b"), Entry("b", HARDLINK, target="a"), Entry("c", HARDLINK, target="far")]
    assert in_order(entries) == entries
