"""Restoring a cache mount writes nowhere but into its directory, whatever document and packs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable.mounts import KeptFile, KeptMount
from buildkit_py.portable.restore_mounts import arrange

MARK = "0" * 32
USED = 1_700_000_000


def mount(*paths: str) -> KeptMount:
    return KeptMount("/c", "", 0, (), tuple((path, KeptFile(0, MARK, 0, USED)) for path in paths))


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    """A pack with `d/f` and a link `out` to a directory outside."""
    (tmp_path / "packs/0/d").mkdir(parents=True)
    (tmp_path / "packs/0/d/f").write_text("f")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f").write_text("outside")
    (tmp_path / "packs/0/out").symlink_to(tmp_path / "outside")
    (tmp_path / "there").mkdir()
    return tmp_path / "packs"


def test_files_get_to_their_places(packs: Path) -> None:
    there = packs.parent / "there"
    (packs / "0/d").chmod(0o700)
    written = (packs / "0/d/f").stat().st_mtime_ns
    arrange(mount("d", "d/f", "out"), str(packs), str(there))
    assert (there / "d/f").stat().st_atime == USED
    assert (there / "d/f").stat().st_mtime_ns == written
    assert (there / "out").lstat().st_atime == USED
    assert (there / "d/f").read_text() == "f"
    assert (there / "d").stat().st_mode & 0o777 == 0o700
    assert (there / "out").is_symlink()


@pytest.mark.parametrize("paths", [("out", "out/f"), ("d/f",), ("d", "d/f", "d/f/x"), ("gone",)])
def test_what_does_not_fit_is_refused(packs: Path, paths: tuple[str, ...]) -> None:
    with pytest.raises(Malformed):
        arrange(mount(*paths), str(packs), str(packs.parent / "there"))
    assert [path.name for path in (packs.parent / "outside").iterdir()] == ["f"]
    assert (packs.parent / "outside/f").read_text() == "outside"
