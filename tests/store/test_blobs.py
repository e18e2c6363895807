from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from buildkit_py.errors import DigestMismatch, StoreCorrupt, StoreError
from buildkit_py.store.store import Store

DATA = b"some bytes " * 20_000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


def scratch(store: Store) -> list[str]:
    return os.listdir(os.path.dirname(store.work.scratch_name()))


def test_put_and_read(store: Store) -> None:
    assert not store.blobs.has(DIGEST)
    assert store.blobs.put(DATA) == DIGEST
    assert store.blobs.put(DATA) == DIGEST
    assert store.blobs.has(DIGEST)
    assert store.blobs.size(DIGEST) == len(DATA)
    assert store.blobs.read(DIGEST) == DATA
    assert list(store.blobs.all()) == [(DIGEST, len(DATA))]
    assert Path(store.blobs.path(DIGEST)).stat().st_mode & 0o777 == 0o600
    assert scratch(store) == []
    assert store.blobs.delete(DIGEST)
    assert not store.blobs.delete(DIGEST)
    assert not store.blobs.has(DIGEST)


def test_the_empty_blob(store: Store) -> None:
    digest = store.blobs.put(b"")
    assert store.blobs.read(digest) == b""


def test_writing_piece_by_piece(store: Store) -> None:
    with store.blobs.writer() as writer:
        assert writer.write(DATA[:100]) == 100
        assert writer.write(memoryview(DATA)[100:]) == len(DATA) - 100
        assert writer.tell() == len(DATA)
        assert not store.blobs.has(DIGEST)
        assert writer.commit(DIGEST) == (DIGEST, len(DATA))
    assert store.blobs.read(DIGEST) == DATA


def test_a_blob_that_is_not_committed_or_not_as_expected_leaves_nothing(store: Store) -> None:
    with store.blobs.writer() as writer:
        writer.write(DATA)
    with store.blobs.writer() as writer:
        writer.write(b"other")
        with pytest.raises(DigestMismatch, match=DIGEST) as caught:
            writer.commit(DIGEST)
        assert hashlib.sha256(b"other").hexdigest() in caught.value.notes[0]
    with pytest.raises(TypeError), store.blobs.writer() as writer:
        writer.write("text")  # type: ignore[arg-type]
    assert list(store.blobs.all()) == []
    assert scratch(store) == []


def test_adopting_a_finished_file(store: Store) -> None:
    with store.work_dir("download") as work:
        path = Path(work.path, "file")
        path.write_bytes(DATA)
        path.chmod(0o4777)
        store.blobs.adopt(str(path), DIGEST)
    assert store.blobs.read(DIGEST) == DATA
    assert Path(store.blobs.path(DIGEST)).stat().st_mode & 0o7777 == 0o600


def test_sure_is_only_the_file_that_this_process_wrote(store: Store) -> None:
    def sure(process: Store) -> bool:
        with process.blobs.open(DIGEST) as reader:
            return reader.is_sure()

    store.blobs.put(DATA)
    other = Store.open(store.root)
    assert (sure(store), sure(other)) == (True, False)
    path = Path(store.blobs.path(DIGEST))
    os.truncate(path, len(DATA) - 1)
    assert not sure(store)
    other.blobs.put(DATA)
    assert (sure(store), sure(other)) == (False, True)


def test_reading_verifies_at_the_end(store: Store) -> None:
    store.blobs.put(DATA)
    with store.blobs.open(DIGEST) as reader:
        buffer = bytearray(100)
        assert reader.readinto(buffer) == 100
        assert reader.fileno() >= 0
        assert bytes(buffer) + reader.read() == DATA
        assert reader.read(10) == b""
        assert reader.read(0) == b""


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(len(DATA) // 2)
        file.write(b"!")


def truncate(path: Path) -> None:
    os.truncate(path, len(DATA) - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to("../elsewhere")


def directory(path: Path) -> None:
    path.unlink()
    (path / "below").mkdir(parents=True)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [flip, truncate, empty, append, link, directory, fifo])
def test_damage_is_noticed_set_aside_and_cured_by_storing_again(store: Store, damage: object) -> None:
    store.blobs.put(DATA)
    path = Path(store.blobs.path(DIGEST))
    damage(path)  # type: ignore[operator]
    assert store.blobs.has(DIGEST) == (not path.is_symlink() and path.is_file())
    with pytest.raises(StoreCorrupt, match="damaged") as caught:
        store.blobs.read(DIGEST)
    assert caught.value.at == str(path)
    assert not os.path.lexists(path)
    assert len(os.listdir(store.path("quarantine"))) == 1
    with pytest.raises(StoreError, match="no blob"):
        store.blobs.read(DIGEST)
    store.blobs.put(DATA)
    assert store.blobs.read(DIGEST) == DATA


@pytest.mark.parametrize("damage", [flip, truncate, link, directory, fifo])
def test_storing_over_damage_cures_it(store: Store, damage: object) -> None:
    store.blobs.put(DATA)
    damage(Path(store.blobs.path(DIGEST)))  # type: ignore[operator]
    store.blobs.put(DATA)
    assert store.blobs.read(DIGEST) == DATA


@pytest.mark.parametrize(
    "name", ["", "sha256:", "sha256:../x", "sha256:" + "A" * 64, "sha512:" + "a" * 64, "sha256:" + "a" * 64 + "\n"]
)
def test_only_digests_name_blobs(store: Store, name: str) -> None:
    for method in (store.blobs.path, store.blobs.has, store.blobs.size, store.blobs.read, store.blobs.delete):
        with pytest.raises(ValueError, match="not a sha256 digest"):
            method(name)
    with pytest.raises(ValueError, match="not a sha256 digest"):
        store.blobs.adopt("/dev/null", name)


def test_a_blob_that_its_writer_hashed_has_the_name_it_says(store: Store) -> None:
    with store.blobs.writer(hashed=True) as writer:
        writer.write(DATA)
        assert writer.commit(DIGEST) == (DIGEST, len(DATA))
    assert store.blobs.read(DIGEST) == DATA
    with store.blobs.open(DIGEST) as reader:
        assert reader.is_sure()
