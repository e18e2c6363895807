"""Digests of large files in layers are noted once, and believed as long as the file is the same."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from time import time_ns

import pytest
from blake3 import blake3

from buildkit_py.executor.layer_digests import LARGE, LayerDigests
from buildkit_py.image.content import hash_file
from buildkit_py.image.entry import Entry
from buildkit_py.image.union import Union
from buildkit_py.store.store import Store

LAYER = "a" * 64
NAME = "dir/a name\n\udcff"
DATA = Random(1).randbytes(LARGE)


def later() -> int:
    return time_ns() + 3_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.open(str(tmp_path / "store"))
    write(made, DATA)
    return made


def place(store: Store) -> Path:
    return Path(store.layers.path(LAYER)) / "diff"


def write(store: Store, data: bytes) -> None:
    path = place(store) / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def entry(store: Store) -> Entry:
    tree = Union([str(place(store))])
    node = tree.lookup(NAME)
    assert node is not None
    return tree.entry(node)


def digest(store: Store) -> bytes:
    """What is said of the file, and noted."""
    digests = LayerDigests(store.layers, later)
    found = digests.of(entry(store))
    digests.write()
    return found


def note(store: Store) -> bytes | None:
    return store.layers.note(LAYER, "digests")


def test_what_was_read_is_noted_and_believed(store: Store) -> None:
    right = hash_file(str(place(store) / NAME))
    assert digest(store) == right
    data = note(store)
    assert data is not None
    assert right.hex().encode() in data
    # That it is not read again shows where the note says something else.
    store.layers.set_note(LAYER, "digests", data.replace(right.hex().encode(), b"ab" * 32))
    assert digest(store) == b"\xab" * 32


@pytest.mark.parametrize("data", [DATA[::-1], DATA + b"more"])
def test_a_file_that_was_written_to_is_read_again(store: Store, data: bytes) -> None:
    before = digest(store)
    status = (place(store) / NAME).stat()
    write(store, data)
    os.utime(place(store) / NAME, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest(store) == hash_file(str(place(store) / NAME)) != before
    # And what was put in its place.
    (place(store) / NAME).rename(place(store) / "old")
    write(store, DATA)
    os.utime(place(store) / NAME, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest(store) == before


def test_what_was_written_to_a_moment_ago_is_not_noted(store: Store) -> None:
    digests = LayerDigests(store.layers)
    assert digests.of(entry(store)) == hash_file(str(place(store) / NAME))
    digests.write()
    assert note(store) is None


def test_small_files_and_those_of_no_layer_are_not_noted(store: Store, tmp_path: Path) -> None:
    write(store, DATA[1:])
    assert digest(store) == hash_file(str(place(store) / NAME))
    (tmp_path / "host").write_bytes(DATA)
    digests = LayerDigests(store.layers, later)
    outside = entry(store)._replace(source=str(tmp_path / "host"), size=LARGE)
    assert digests.of(outside) == hash_file(str(tmp_path / "host"))
    digests.write()
    assert note(store) is None


@pytest.mark.parametrize("damage", [b"", b"\0", b"a b\0", b"1 2 3 4 zz x\0", b"\xff"])
def test_a_note_of_something_else_is_no_harm(store: Store, damage: bytes) -> None:
    store.layers.set_note(LAYER, "digests", damage)
    assert digest(store) == hash_file(str(place(store) / NAME))
    (Path(store.layers.path(LAYER)) / "note-digests").write_bytes(b"damaged")
    assert digest(store) == hash_file(str(place(store) / NAME))


def test_a_store_that_cannot_be_written_is_no_error(store: Store) -> None:
    digests = LayerDigests(store.layers, later)
    right = digests.of(entry(store))
    place(store).rename(place(store).parent.parent / "moved")
    place(store).parent.rename(place(store).parent.parent / "gone")
    digests.write()
    assert right == blake3(DATA).digest()
