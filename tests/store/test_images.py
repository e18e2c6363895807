from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from buildkit_py.store.store import Store

ONE = "sha256:" + "1" * 64
TWO = "sha256:" + "2" * 64
NAMES = [
    "docker.io/library/debian:trixie",
    "localhost:5000/a/b@sha256:" + "a" * 64,
    "..",
    ".",
    "../../etc/passwd",
    "%2E",
    "name with spaces, commas; and ümlauts \udcff",
    "registry.example/" + "x" * 255 + ":tag",
    "registry.example/" + "x" * 255 + ":other",
]


def test_names_of_all_kinds(store: Store) -> None:
    for number, name in enumerate(NAMES):
        store.images.set(name, f"sha256:{number:064x}")
        assert os.path.dirname(store.images.path(name)) == store.images.dir
    again = Store.open(store.root)
    for number, name in enumerate(NAMES):
        assert again.images.get(name) == f"sha256:{number:064x}"
    listed = again.images.all()
    assert [entry[0] for entry in listed] == sorted(NAMES)
    assert all(abs(entry[2] - time.time()) < 1000 for entry in listed)
    assert len(os.listdir(store.images.dir)) == len(NAMES)


def test_setting_moves_and_deleting_forgets(store: Store) -> None:
    assert store.images.get("a") is None
    assert not store.images.delete("a")
    store.images.set("a", ONE)
    path = Path(store.images.path("a"))
    path.write_text(path.read_text().replace(f"{store.images.all()[0][2]}", "1000"))
    store.images.set("a", ONE)
    assert store.images.all() == [("a", ONE, 1000)]  # when the name came to mean this has not changed
    store.images.set("a", TWO)
    assert store.images.get("a") == TWO
    assert store.images.all()[0][2] > 1000
    assert store.images.delete("a")
    assert store.images.all() == []


def test_manifests_for_other_platforms(store: Store) -> None:
    store.images.set("a", ONE, (TWO, ONE, TWO))
    assert store.images.manifests("a") == (ONE, TWO)
    assert store.images.get("a") == ONE
    assert [entry[:2] for entry in store.images.all()] == [("a", ONE), ("a", TWO)]
    store.images.set("a", ONE)
    assert store.images.manifests("a") == (ONE,)
    assert store.images.manifests("b") == ()
    with pytest.raises(ValueError, match="not a sha256 digest"):
        store.images.set("a", ONE, ("x",))


DAMAGED = [
    "",
    ONE,
    f"{ONE}\na\n",
    f"{ONE}\nb\n1\n",
    "x\na\n1\n",
    f"{ONE}\na\nx\n",
    f"{ONE}\na\n1\nx\n",
    f"{ONE}\na\n1\n{TWO}",
]


@pytest.mark.parametrize("text", [*DAMAGED, "\0"])
def test_a_damaged_file_is_no_name(store: Store, text: str) -> None:
    store.images.set("a", ONE)
    Path(store.images.path("a")).write_text(text)
    assert store.images.get("a") is None
    assert store.images.all() == []
    assert len(os.listdir(store.path("quarantine"))) == 1
    store.images.set("a", TWO)
    assert store.images.get("a") == TWO


@pytest.mark.parametrize("name", ["", "a\nb"])
def test_bad_names(store: Store, name: str) -> None:
    for method in (store.images.get, store.images.delete, store.images.path):
        with pytest.raises(ValueError, match="not an image name"):
            method(name)


def test_bad_digests(store: Store) -> None:
    with pytest.raises(ValueError, match="not a sha256 digest"):
        store.images.set("a", "latest")
