"""Saving a cache mount: what goes into a new pack, which packs stay, and which files are left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit_py.image.overlay_diff import diff
from buildkit_py.portable.mounts import KeptMount
from buildkit_py.portable.recent import recent
from buildkit_py.portable.save_mounts import Saved, save
from buildkit_py.store.store import Store

NOW = 1_700_000_000
Saving = Callable[..., Saved]


class Mount:
    """A mount's directory, saved to a store whose blobs are what would go up."""

    def __init__(self, top: Path) -> None:
        self.files = top / "mount"
        self.files.mkdir()
        self.store = Store.open(str(top / "store"))
        self.old: KeptMount | None = None
        self.sent = 0

    def write(self, name: str, size: int, used: int = NOW) -> None:
        """A file of bytes that nothing compresses, read last at some time."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        os.utime(path, (used, NOW - 10_000))

    def save(self, limit: int = 0, key: str = "") -> KeptMount:
        """What is saved now; `sent` is then the size of the blobs that are new."""
        before = {pack.blob.digest for pack in self.old.packs} if self.old is not None else set()
        self.saved = save(self.store, "/c", key, str(self.files), self.old, limit)
        self.old = self.saved.mount
        self.sent = sum(pack.blob.size for pack in self.old.packs if pack.blob.digest not in before)
        return self.old

    def names(self) -> set[str]:
        assert self.old is not None
        return {path for path, _ in self.old.files}


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path)


def test_only_new_files_go_up(mount: Mount) -> None:
    for number in range(20):
        mount.write(f"d/f{number}", 50_000)
    mount.save()
    assert mount.sent > 1_000_000
    mount.write("d/new", 30_000)
    kept = mount.save()
    assert len(kept.packs) == 2
    assert 30_000 < mount.sent < 32_000
    assert mount.save() is kept
    assert mount.sent == 0


def test_a_changed_file_goes_up_alone(mount: Mount) -> None:
    mount.write("a", 100_000)
    mount.write("b", 40_000)
    mount.save()
    mount.write("b", 40_000)
    os.utime(mount.files / "b", (NOW, NOW - 10_000))  # as large and as old as before
    mount.save()
    assert 40_000 < mount.sent < 42_000


def test_many_small_saves_leave_the_large_pack_where_it_is(mount: Mount) -> None:
    mount.write("large", 400_000)
    first = mount.save().packs[0]
    total = 0
    for number in range(30):
        mount.write(f"small{number}", 4_000)
        kept = mount.save()
        total += mount.sent
        assert first in kept.packs
        assert len(kept.packs) <= 8
    # Each small file goes up again a few times, and the large one never.
    assert 30 * 4_000 < total < 30 * 4_000 * 5


def test_what_dies_slowly_goes_too(mount: Mount) -> None:
    for number in range(10):
        mount.write(f"f{number}", 50_000)
    mount.save()
    for number in range(6):
        mount.write(f"f{number}", 50_000)
        kept = mount.save()
    held = sum(pack.bytes for pack in kept.packs)
    alive = sum(file.size + 512 for _, file in kept.files)
    assert held < 2 * alive


def test_a_pack_of_which_nothing_is_left_goes(mount: Mount) -> None:
    mount.write("a", 1000)
    mount.save()
    mount.write("b", 1000)
    (mount.files / "a").unlink()
    kept = mount.save()
    assert [(path, file.pack) for path, file in kept.files] == [("b", 0)]
    assert len(kept.packs) == 1


def test_links_of_one_file_stay_in_one_pack(mount: Mount) -> None:
    mount.write("a", 50_000)
    os.link(mount.files / "a", mount.files / "b")
    mount.save()
    os.link(mount.files / "a", mount.files / "c")
    kept = mount.save()
    assert len({file.pack for _, file in kept.files}) == 1
    assert len(kept.packs) == 1


def test_another_key_uses_the_packs_of_the_last(mount: Mount) -> None:
    mount.write("a", 50_000)
    first = mount.save(key="1" * 64)
    mount.write("b", 50_000)
    second = mount.save(key="2" * 64)
    assert second.key == "2" * 64
    assert second.packs[0] == first.packs[0]
    assert mount.sent < 52_000
    third = mount.save(key="3" * 64)
    assert (third.packs, third.key) == (second.packs, "3" * 64)


def test_what_was_used_last_is_saved_where_not_all_may_be(mount: Mount) -> None:
    for number in range(10):
        mount.write(f"d/f{number}", 10_000, used=NOW - number)
    mount.write("huge", 60_000)
    os.link(mount.files / "huge", mount.files / "d/link")
    mount.save(limit=45_000)
    assert mount.names() == {"d", "d/f0", "d/f1", "d/f2", "d/f3"}
    assert (mount.saved.left_out, mount.saved.bytes) == (7, 120_000)
    # The oldest is used again, and so it goes with the rest.
    os.utime(mount.files / "d/f9", (NOW + 1, NOW - 10_000))
    mount.save(limit=45_000)
    assert mount.names() == {"d", "d/f0", "d/f1", "d/f2", "d/f9"}


def test_packs_hold_no_more_than_may_travel(mount: Mount) -> None:
    limit = 200_000
    for number in range(60):
        mount.write(f"f{number}", 20_000, used=NOW + number)
        kept = mount.save(limit)
        assert sum(pack.bytes for pack in kept.packs) <= limit + 20 * 512
    assert {f"f{number}" for number in range(52, 60)} <= mount.names()


def test_what_is_packed_again_counts_for_the_limit(mount: Mount) -> None:
    for pack in ({"a": 40_000, "b": 60_000}, {"c": 70_000, "d": 30_000}):
        for name, size in pack.items():
            mount.write(name, size)
        mount.save()
    for name in ("b", "d"):
        (mount.files / name).unlink()
    kept = mount.save(limit=120_000)
    assert mount.names() == {"a", "c"}
    assert sum(pack.bytes for pack in kept.packs) <= 120_000


def test_saving_is_no_use_of_a_file(mount: Mount) -> None:
    mount.write("a", 10, used=NOW - 500_000)
    mount.save()
    mount.write("b", 10)
    mount.save()
    assert (mount.files / "a").stat().st_atime == NOW - 10_000
    assert (mount.files / "b").stat().st_atime == NOW


def test_a_link_to_nowhere_and_an_odd_time_are_no_trouble(mount: Mount) -> None:
    (mount.files / "link").symlink_to("/nowhere")
    mount.write("old", 10)
    os.utime(mount.files / "old", (-5, -5))
    found = recent(str(mount.files), diff(str(mount.files), hash_files=False))
    assert found.used["old"] == 0
    mount.save()
    assert mount.names() == {"link", "old"}
