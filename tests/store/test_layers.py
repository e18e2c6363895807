from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.errors import StoreError
from buildkit_py.store.layers import LayerBlob, LayerMeta
from buildkit_py.store.store import Store
from tests.store.samples import TAR, add_layer, add_patched

ID = "a" * 64
META = LayerMeta(ID, "b" * 64, entries=1, size=3)


def tree(store: Store, text: str = "one") -> str:
    work = store.work_dir("test")
    upper = Path(work.path, "upper")
    upper.mkdir()
    (upper / "file").write_text(text)
    return str(upper)


def test_a_layer_with_tree_and_blob(store: Store) -> None:
    assert store.layers.get(ID) is None
    assert store.layers.tree(ID) is None
    assert not store.layers.present(ID)
    digest = store.blobs.put(b"tar")
    blob = LayerBlob(digest, digest, 3, TAR)
    meta = META.replace(diff_id=digest, origin=("registry", "docker.io/x"), impure=True)
    assert store.layers.add(meta, tree(store), ("tar", blob)) == meta
    again = Store.open(store.root)
    assert again.layers.get(ID) == meta
    assert Path(again.layers.tree(ID) or "", "file").read_text() == "one"
    assert again.layers.blob(ID, "tar") == blob
    assert again.layers.any_blob(ID) == ("tar", blob)
    assert again.layers.variants(ID) == ["tar"]
    assert list(again.layers.all()) == [meta]
    assert again.layers.delete(ID)
    assert not again.layers.delete(ID)
    assert again.layers.get(ID) is None
    assert store.blobs.has(digest)


def test_an_existing_layer_is_kept_and_gets_what_it_lacks(store: Store) -> None:
    store.layers.add(META)
    assert not store.layers.present(ID)
    digest = store.blobs.put(b"tar")
    blob = LayerBlob(digest, digest, 3, TAR)
    more = META.replace(diff_id=digest, origin=("somewhere",), entries=99)
    filled = store.layers.add(more, tree(store, "one"), ("tar", blob))
    assert filled == META.replace(diff_id=digest, origin=("somewhere",))
    assert store.layers.get(ID) == filled
    other = tree(store, "two")
    store.layers.add(more.replace(diff_id="sha256:" + "0" * 64), other, ("tar", blob.replace(size=9)))
    assert store.layers.get(ID) == filled
    assert Path(store.layers.tree(ID) or "", "file").read_text() == "one"
    assert store.layers.blob(ID, "tar") == blob
    assert Path(other, "file").read_text() == "two"  # left to its work dir


def test_a_blob_of_another_tar_is_not_the_layers(store: Store) -> None:
    """A step that ran again wrote the same files at another time: the image goes on with the earlier times."""
    one, two = (LayerBlob("sha256:" + digit * 64, store.blobs.put(digit.encode()), 1, TAR) for digit in "12")
    meta = META.replace(diff_id=one.diff_id)
    store.layers.add(meta, tree(store), ("zstd", one))
    assert store.layers.add(META.replace(diff_id=two.diff_id), "", ("gzip", two)) == meta
    assert store.layers.variants(ID) == ["zstd"]
    store.layers.add(meta, "", ("gzip", two.replace(diff_id=one.diff_id)))
    assert store.layers.variants(ID) == ["gzip", "zstd"]


def test_a_patch_lies_on_the_tree_of_another_layer(store: Store) -> None:
    under = add_layer(store, "older")
    patch = add_patched(store, "newer", under)
    assert store.layers.under(patch.id) == under.id
    assert store.layers.under(under.id) == ""
    below, above = store.layers.trees(patch.id)
    assert store.layers.trees(under.id) == (below,) == (store.layers.tree(under.id),)
    assert Path(above, "file").read_text() == "layer newer"
    assert store.layers.tree(patch.id) is None
    assert store.layers.present(patch.id)
    # A second one finds the first one's files.
    assert add_patched(store, "newer", add_layer(store, "third")) == patch
    assert store.layers.under(patch.id) == under.id
    assert store.layers.delete(under.id)
    assert store.layers.trees(patch.id) == ()
    assert not store.layers.present(patch.id)


def test_a_damaged_patch_is_set_aside_and_made_anew(store: Store) -> None:
    under = add_layer(store, "older")
    patch = add_patched(store, "newer", under)
    Path(store.layers.path(patch.id), "patch", "under").write_text("x")
    assert not store.layers.present(patch.id)
    assert os.listdir(store.path("quarantine"))
    add_patched(store, "newer", under)
    assert len(store.layers.trees(patch.id)) == 2


def test_notes_are_kept_beside_a_layer_and_dropped_when_damaged(store: Store) -> None:
    meta = add_layer(store, "older")
    assert store.layers.note(meta.id, "inventory") is None
    store.layers.set_note(meta.id, "inventory", b"bytes")
    assert store.layers.note(meta.id, "inventory") == b"bytes"
    assert store.layers.note(meta.id, "members") is None
    Path(store.layers.path(meta.id), "note-inventory").write_bytes(b"torn")
    assert store.layers.note(meta.id, "inventory") is None


def test_a_blob_that_is_gone_is_not_offered_but_described(store: Store) -> None:
    digest = "sha256:" + "1" * 64
    blob = LayerBlob(digest, digest, 3, TAR)
    store.layers.add(META.replace(origin=("registry",)), blob=("origin", blob))
    assert store.layers.blob(ID, "origin") is None
    assert store.layers.any_blob(ID) is None
    assert store.layers.described(ID, "origin") == blob
    assert store.layers.present(ID)


def test_adding_a_tree_later(store: Store) -> None:
    store.layers.add(META)
    path = store.layers.add_tree(ID, tree(store, "one"))
    assert path == store.layers.tree(ID)
    assert store.layers.add_tree(ID, tree(store, "two")) == path
    assert Path(path, "file").read_text() == "one"
    with pytest.raises(StoreError, match="files"):
        store.layers.add_tree("c" * 64, tree(store))
    with pytest.raises(StoreError, match="no layer"):
        store.layers.set_blob("c" * 64, "tar", LayerBlob("", "", 0, ""))
    assert store.layers.get("c" * 64) is None


@pytest.mark.parametrize("damage", ["flip", "empty", "absent", "link", "directory", "not a layer at all"])
def test_a_damaged_description_makes_the_layer_absent(store: Store, damage: str) -> None:
    store.layers.add(META, tree(store))
    meta = Path(store.layers.path(ID), "meta")
    if damage == "flip":
        data = bytearray(meta.read_bytes())
        data[-1] ^= 1
        meta.write_bytes(data)
    elif damage == "empty":
        meta.write_bytes(b"")
    elif damage == "link":
        meta.rename(meta.parent / "elsewhere")
        meta.symlink_to("elsewhere")
    else:
        meta.unlink()
        if damage == "directory":
            meta.mkdir()
        elif damage == "not a layer at all":
            store.work.remove(str(meta.parent))
            meta.parent.write_text("a file")
    assert Store.open(store.root).layers.get(ID) is None
    assert not os.path.lexists(store.layers.path(ID))
    assert store.layers.add(META, tree(store)) == META
    assert store.layers.get(ID) == META


def test_a_damaged_note_on_a_blob_is_dropped(store: Store) -> None:
    meta = add_layer(store, "one")
    Path(store.layers.path(meta.id), "blob-tar").write_bytes(b"nonsense")
    assert store.layers.any_blob(meta.id) is None
    assert store.layers.variants(meta.id) == []
    assert store.layers.get(meta.id) == meta


def test_a_description_under_another_name_is_not_believed(store: Store) -> None:
    store.layers.add(META)
    os.rename(store.layers.path(ID), store.layers.path("c" * 64))
    assert store.layers.get("c" * 64) is None


@pytest.mark.parametrize("id", ["", "..", "a", "A" * 64, "../" + "a" * 61])
def test_only_ids_become_paths(store: Store, id: str) -> None:
    for method in (store.layers.get, store.layers.tree, store.layers.lock, store.layers.delete, store.layers.any_blob):
        with pytest.raises(ValueError, match="not a layer id"):
            method(id)


@pytest.mark.parametrize("variant", ["", "a/b", "..", "a b"])
def test_only_plain_words_are_variants(store: Store, variant: str) -> None:
    if variant != "..":  # harmless: the file is `blob-..`
        with pytest.raises(ValueError, match="not a variant"):
            store.layers.blob(ID, variant)


def _race(root: str, number: int, gate: object) -> None:
    store = Store.open(root)
    gate.wait()  # type: ignore[attr-defined]
    for round in range(20):
        id = f"{round:064x}"
        with store.work_dir("race") as work:
            upper = Path(work.path, "upper")
            upper.mkdir()
            for name in ("one", "two", "three"):
                (upper / name).write_text(str(number))
            meta = LayerMeta(id, id, size=number)
            got = store.layers.add(meta, str(upper))
        digest = store.blobs.put(b"the same for all %d" % round)
        store.layers.set_blob(id, "tar", LayerBlob(digest, digest, 1, TAR))
        assert store.layers.get(id) == got
        texts = {p.read_text() for p in Path(store.layers.tree(id) or "").iterdir()}
        assert len(texts) == 1
    os._exit(0)


@pytest.mark.attack("K1")
def test_sixteen_processes_race_for_the_same_layers(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(16)
    racers = [context.Process(target=_race, args=(store.root, n, gate)) for n in range(16)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 16
    metas = list(store.layers.all())
    assert len(metas) == 20
    for meta in metas:
        files = list(Path(store.layers.tree(meta.id) or "").iterdir())
        assert {file.read_text() for file in files} == {str(meta.size)}
        assert len(files) == 3
        assert store.layers.any_blob(meta.id) is not None
    assert os.listdir(store.path("quarantine")) == []


def test_a_layer_that_comes_while_it_is_looked_for_is_not_taken_for_a_damaged_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process puts it in place between two looks of this one."""
    read = store.layers._read

    def read_too_early(path: str, kind: Any) -> Any:
        found = read(path, kind)
        monkeypatch.undo()
        Store.open(store.root).layers.add(META)
        return found

    monkeypatch.setattr(store.layers, "_read", read_too_early)
    assert store.layers.get(ID) == META
    assert os.listdir(store.path("quarantine")) == []


@pytest.mark.parametrize("kind", ["tree", "patch"])
def test_files_that_come_while_they_are_added_are_kept(
    kind: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under = META.replace(id="b" * 64)
    store.layers.add(META)
    with store.work_dir("test") as work:
        made = []
        for name in ("mine", "theirs", "below"):
            (directory := Path(work.path, name)).mkdir()
            inner = directory if kind == "tree" or name == "below" else directory / "diff"
            inner.mkdir(exist_ok=True)
            (inner / "file").write_text(name)
            made.append(str(directory))
        mine, theirs, below = made
        store.layers.add(under, below)
        add = "add_tree" if kind == "tree" else "add_patch"
        if kind == "patch":
            for patch in (mine, theirs):
                store.layers.patch_of(under.id, patch)
        look = "tree" if kind == "tree" else "trees"
        before = getattr(store.layers, look)

        def look_too_early(id: str) -> Any:
            found = before(id)
            monkeypatch.undo()
            getattr(Store.open(store.root).layers, add)(ID, theirs)
            return found

        monkeypatch.setattr(store.layers, look, look_too_early)
        getattr(store.layers, add)(ID, mine)
    assert Path(store.layers.trees(ID)[-1], "file").read_text() == "theirs"
    assert os.listdir(store.path("quarantine")) == []


def test_the_lock_is_one_for_all(store: Store) -> None:
    with store.layers.lock(ID):
        assert not Store.open(store.root).layers.lock(ID).acquire(wait=False)
        assert Store.open(store.root).layers.lock("b" * 64).acquire(wait=False)
