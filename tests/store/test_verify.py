from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit_py.errors import StoreError
from buildkit_py.store.checksum import checked
from buildkit_py.store.layers import LayerBlob, LayerMeta, TreeLoss
from buildkit_py.store.sealed import sealed_bytes
from buildkit_py.store.store import Store
from buildkit_py.store.verify import verify
from tests.store.samples import TAR, add_image, add_layer, add_record, contents


@pytest.fixture
def full(store: Store) -> Store:
    base, top = add_layer(store, "base"), add_layer(store, "top", unpacked=False)
    add_image(store, "image", base, top)
    add_record(store, "top", top.id, add_record(store, "base", base.id).snapshot)
    return store


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def link(path: Path) -> None:
    other = path.with_name("elsewhere")
    path.rename(other)
    path.symlink_to(other)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def delete(path: Path) -> None:
    path.unlink()


DAMAGES = [flip, truncate, empty, link, directory, delete]


def kinds(store: Store, repair: bool = True) -> set[str]:
    return {problem.kind for problem in verify(store, repair)}


def test_a_sound_store(full: Store) -> None:
    before = contents(full)
    assert verify(full) == ()
    assert verify(full, repair=False) == ()
    assert contents(full) == before


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("what", ["blob", "manifest", "meta", "note", "snapshot", "record", "image"])
@pytest.mark.attack("K5")
def test_damage_is_found_once_and_then_the_store_is_sound(
    full: Store, what: str, damage: Callable[[Path], None]
) -> None:
    record = next(record for _, record in full.records.all() if record.name == "top")
    layer = full.layers.any_blob(record.layer)
    manifest = full.images.get("image")
    assert layer is not None
    assert manifest is not None
    path = {
        "blob": full.blobs.path(layer[1].digest),
        "manifest": full.blobs.path(manifest),
        "meta": full.layers.path(record.layer) + "/meta",
        "note": full.layers.path(record.layer) + "/blob-tar",
        "snapshot": full.snapshots.path(record.snapshot),
        "record": full.records.path(record.key),
        "image": full.images.path("image"),
    }[what]
    damage(Path(path))
    unnoticed = damage is delete and what in ("record", "image")  # as if it had never been there
    before = contents(full)
    reported = verify(full, repair=False)
    assert contents(full) == before
    assert bool(reported) != unnoticed
    problems = verify(full)
    assert bool(problems) != unnoticed
    for problem in problems:
        assert str(problem).startswith(f"{problem.kind} {problem.name}: ")
    assert verify(full) == ()
    assert verify(Store.open(full.root)) == ()


def test_what_stood_on_a_lost_blob_goes_too(full: Store) -> None:
    record = next(record for _, record in full.records.all() if record.name == "top")
    found = full.layers.any_blob(record.layer)
    assert found is not None
    flip(Path(full.blobs.path(found[1].digest)))
    assert kinds(full) == {"blob", "layer", "snapshot", "record", "image"}
    assert [r.name for _, r in full.records.all()] == ["base"]
    assert full.images.all() == []
    assert verify(full) == ()


def test_what_stood_on_a_lost_layer_goes_too_and_at_once(full: Store) -> None:
    record = next(record for _, record in full.records.all() if record.name == "base")
    shutil.rmtree(full.layers.path(record.layer))
    assert {"snapshot", "record"} <= kinds(full)
    assert verify(full) == ()
    assert verify(Store.open(full.root)) == ()


def test_a_layer_with_a_tree_outlives_its_blob(full: Store) -> None:
    record = next(record for _, record in full.records.all() if record.name == "base")
    found = full.layers.any_blob(record.layer)
    assert found is not None
    os.unlink(full.blobs.path(found[1].digest))
    problems = verify(full)
    assert [problem.kind for problem in problems] == ["image"]
    assert full.layers.tree(record.layer)
    assert verify(full) == ()


def test_strangers(full: Store) -> None:
    Path(full.blobs.dir, "readme").touch()
    Path(full.layers.dir, "x").mkdir()
    tree = next(full.layers.tree(meta.id) for meta in full.layers.all() if full.layers.tree(meta.id))
    assert tree is not None
    shutil.rmtree(tree)
    Path(tree).symlink_to("/")
    assert kinds(full) == {"blob", "layer"}
    assert verify(full) == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads files of any mode")
def test_a_file_that_may_not_be_read(full: Store) -> None:
    manifest = full.images.get("image")
    assert manifest is not None
    os.chmod(full.blobs.path(manifest), 0)
    assert kinds(full) == {"blob", "image"}
    assert verify(full) == ()


def no_blob(meta: LayerMeta, directory: str) -> None:
    raise AssertionError("the content digest is known")


@pytest.mark.parametrize("change", [flip, truncate, empty, directory, delete, lambda path: path.chmod(0o4755)])
@pytest.mark.parametrize("packed", [True, False])
def test_wrong_files_of_a_layer_go(store: Store, packed: bool, change: Callable[[Path], None]) -> None:
    layer = add_layer(store, "one", packed=packed)
    add_record(store, "step", layer.id)
    other = add_layer(store, "other")
    tree = Path(store.layers.path(layer.id), "diff")
    change(tree / "file")
    assert verify(store) == ()
    found = verify(store, repair=False, unpack=no_blob)
    assert [(one.kind, one.name) for one in found] == [("layer", layer.id)]
    assert tree.exists()
    assert {one.kind for one in verify(store, unpack=no_blob)} == (
        {"layer"} if packed else {"layer", "snapshot", "record"}
    )
    assert not tree.exists()
    assert store.layers.present(layer.id) == packed
    assert store.layers.tree(other.id) is not None
    assert verify(store, unpack=no_blob) == ()


@pytest.mark.parametrize("loss", [None, TreeLoss(1, 0)])
def test_files_without_a_known_content_are_compared_with_the_blob(store: Store, loss: TreeLoss | None) -> None:
    diff_id = store.blobs.put(b"the bytes of a tar")
    name = diff_id.removeprefix("sha256:")
    meta = LayerMeta(name, name if loss is None else "0" * 64, diff_id=diff_id)
    store.layers.add(meta, blob=("origin", LayerBlob(diff_id, diff_id, 18, TAR)))

    def unpack(meta: LayerMeta, directory: str) -> None:
        os.mkdir(directory)
        Path(directory, "file").write_text(meta.diff_id)

    with store.work_dir("sample") as work:
        unpack(meta, work.path + "/diff")
        tree = store.layers.add_tree(name, work.path + "/diff", loss)
    assert verify(store, unpack=unpack) == ()
    Path(tree, "file").write_text("other")
    assert [one.path for one in verify(store, unpack=unpack)] == [tree]
    assert store.layers.present(name)


@pytest.mark.parametrize("gone", [True, False])
def test_a_layer_that_another_process_removes_meanwhile(store: Store, gone: bool) -> None:
    diff_id = store.blobs.put(b"the bytes of a tar")
    name = diff_id.removeprefix("sha256:")
    store.layers.add(LayerMeta(name, name, diff_id=diff_id), blob=("origin", LayerBlob(diff_id, diff_id, 18, TAR)))
    with store.work_dir("sample") as work:
        os.mkdir(work.path + "/diff")
        store.layers.add_tree(name, work.path + "/diff", None)

    def unpack(meta: LayerMeta, directory: str) -> None:
        if gone:
            store.layers.delete(name)
        raise StoreError("its files are gone")

    if gone:
        assert verify(store, unpack=unpack) == ()
    else:
        with pytest.raises(StoreError, match="its files are gone"):
            verify(store, unpack=unpack)


@pytest.mark.parametrize("damage", DAMAGES[:-1])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("memo/" + "a" * 32, "memo"),
        (f"memo/{'a' * 32}.0", "memo"),
        ("memo/run-" + "a" * 64, "memo"),
        ("scans/" + "a" * 32, "scan"),
        (f"scans/{'a' * 32}.notes", "scan"),
        ("sources/web-" + "a" * 32, "note"),
    ],
)
@pytest.mark.attack("K5")
def test_what_builds_believe_without_looking_again(
    full: Store, name: str, kind: str, damage: Callable[[Path], None]
) -> None:
    path = Path(full.root, name)
    path.write_bytes(sealed_bytes(b"seen") if "web-" in name or ".notes" in name else checked(b"seen"))
    assert verify(full) == ()
    damage(path)
    assert kind in kinds(full)
    assert not os.path.lexists(path)


def test_a_memo_that_is_being_written_and_marks_are_no_damage(full: Store) -> None:
    for name in (f"memo/{'a' * 32}.7.new", "memo/measured", "memo/made-anew"):
        Path(full.root, name).write_bytes(b"")
    assert verify(full) == ()
