from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from buildkit_py.store.locks import InUse
from buildkit_py.store.store import Store
from tests.store.samples import OLD, age


@pytest.mark.attack("S8")
def test_contents_stay_and_ids_never_become_paths(store: Store) -> None:
    for id in ("/root/.cache", "../../x", "", "a\nb\0\udcff"):
        with store.mounts.acquire(id) as mount:
            assert os.listdir(mount.path) == []
            assert os.path.dirname(os.path.dirname(mount.path)) == store.path("mounts")
            assert os.stat(mount.path).st_mode & 0o7777 == 0o755
            Path(mount.path, "file").write_text(id.replace("\udcff", ""))
    again = Store.open(store.root)
    with again.mounts.acquire("../../x", "locked") as mount:
        assert Path(mount.path, "file").read_text() == "../../x"
    assert {id for id, _ in again.mounts.all()} == {"/root/.cache", "../../x", "", "a\nb\0\udcff"}


def test_shared_ones_are_one(store: Store) -> None:
    with store.mounts.acquire("a") as one, store.mounts.acquire("a") as two:
        assert one.path == two.path


def test_private_ones_are_apart_and_reused(store: Store) -> None:
    with store.mounts.acquire("a", "private") as one, store.mounts.acquire("a", "private") as two:
        first, second = one.path, two.path
        assert first != second
    with store.mounts.acquire("a", "private") as one, store.mounts.acquire("a", "private") as two:
        assert {one.path, two.path} == {first, second}
    with store.mounts.acquire("a", "shared") as shared, store.mounts.acquire("a", "private") as private:
        assert shared.path == first
        assert private.path == second


def test_locked_ones_wait(store: Store) -> None:
    held = store.mounts.acquire("a", "locked")
    order: list[int] = []

    def second() -> None:
        with store.mounts.acquire("a", "locked", waiting=order.append):
            order.append(-1)

    thread = threading.Thread(target=second)
    thread.start()
    while not order:
        pass
    order.append(-2)
    held.release()
    held.release()
    thread.join()
    assert order[-1] == -1
    assert -2 in order
    assert order[0] == os.getpid()


def test_damage_is_cured(store: Store) -> None:
    with store.mounts.acquire("a") as mount:
        Path(mount.path, "file").touch()
    home = Path(mount.path).parent
    (home / "meta").unlink()
    with store.mounts.acquire("a") as mount:
        assert os.listdir(mount.path) == ["file"]
    assert [id for id, _ in store.mounts.all()] == ["a"]
    (home / "meta").write_text("nonsense")
    assert [id for id, _ in store.mounts.all()] == [""]
    store.work.remove(str(home / "data"))
    with store.mounts.acquire("a") as mount:
        assert os.listdir(mount.path) == []
    assert [id for id, _ in store.mounts.all()] == ["a"]


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_is_in_the_place_of_one_makes_room(kind: str, store: Store) -> None:
    home = Path(store.path("mounts"), store.mounts.name("a") + ".0")
    if kind == "file":
        home.write_text("nonsense")
    elif kind == "link":
        home.symlink_to("nowhere")
    else:
        home.mkdir()
        (home / "other").write_text("nonsense")
    with store.mounts.acquire("a") as mount:
        assert os.listdir(mount.path) == []
    assert [id for id, _ in store.mounts.all()] == ["a"]


def test_one_that_comes_while_it_is_made_is_not_taken_for_a_damaged_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process puts it in place, and has it alone, between two looks of this one."""
    other = Store.open(store.root)
    theirs: list[InUse] = []
    said: list[int] = []

    def take(directory: str) -> None:
        theirs.append(other.mounts.acquire("a", "locked"))
        Path(theirs[0].path, "file").touch()

    def give_back(process: int) -> None:
        said.append(process)
        assert os.listdir(theirs[0].path) == ["file"]
        theirs[0].release()

    with store.mounts.acquire("a", "locked", give_back, fill=take) as mount:
        assert os.listdir(mount.path) == ["file"]
    assert said[0] == os.getpid()
    assert os.listdir(store.path("quarantine")) == []


def test_processes_that_empty_one_while_it_is_pruned_have_it_alone(store: Store) -> None:
    stop = threading.Event()
    wrong: list[BaseException] = []

    def prune() -> None:
        mine = Store.open(store.root)
        while not stop.is_set():
            for _, home in mine.mounts.all():
                mine.mounts.delete(home, 2**62)

    def use() -> None:
        mine = Store.open(store.root)
        try:
            for _ in range(60):
                with mine.mounts.acquire("a", "locked", fresh=True) as mount:
                    assert os.listdir(mount.path) == []
                    Path(mount.path, "file").touch()
                    os.sched_yield()
                    assert os.listdir(mount.path) == ["file"]
        except BaseException as problem:
            wrong.append(problem)

    others = [threading.Thread(target=prune), *(threading.Thread(target=use) for _ in range(4))]
    for thread in others:
        thread.start()
    for thread in others[1:]:
        thread.join()
    stop.set()
    others[0].join()
    assert wrong == []
    assert os.listdir(store.path("quarantine")) == []


def test_only_old_and_free_ones_are_deleted(store: Store) -> None:
    with store.mounts.acquire("a") as mount:
        home = os.path.dirname(mount.path)
        age(store)
        assert not store.mounts.delete(home, (OLD + 1) * 10**9)
    assert not store.mounts.delete(home, OLD * 10**9)
    assert store.mounts.delete(home, (OLD + 1) * 10**9)
    assert not store.mounts.delete(home, (OLD + 1) * 10**9)
    assert list(store.mounts.all()) == []


def test_taking_while_they_are_deleted(store: Store) -> None:
    stop = threading.Event()
    with store.mounts.acquire("a") as mount:
        home = os.path.dirname(mount.path)

    def delete() -> None:
        while not stop.is_set():
            store.mounts.delete(home, 2**62)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for _ in range(200):
            with store.mounts.acquire("a", "locked") as mount:
                Path(mount.path, "file").touch()
                assert Path(mount.path, "file").exists()
    finally:
        stop.set()
        thread.join()


def test_one_that_is_pruned_while_it_is_looked_for_is_not_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.mounts.acquire("a") as mount:
        home = os.path.dirname(mount.path)
    is_directory = os.path.isdir

    def look_too_early(path: str) -> bool:
        found = is_directory(path)
        monkeypatch.undo()
        assert store.mounts.delete(home, 2**62)
        return found

    monkeypatch.setattr(os.path, "isdir", look_too_early)
    assert store.mounts.hold(store.mounts.name("a")) is None


def test_an_unknown_sharing_mode(store: Store) -> None:
    with pytest.raises(ValueError, match="sharing"):
        store.mounts.acquire("a", "open")
