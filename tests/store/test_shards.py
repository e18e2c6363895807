from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.store.shards import shard_names, shard_path

NAME = "ab" + "0" * 62


def test_names_and_paths(tmp_path: Path) -> None:
    dir = str(tmp_path)
    assert list(shard_names(dir)) == []
    path = Path(shard_path(dir, NAME))
    path.parent.mkdir()
    path.touch()
    (tmp_path / "cd").touch()  # a file where a shard would be
    (tmp_path / "ab" / "stranger").touch()
    (tmp_path / "ab" / ("cd" + "0" * 62)).touch()  # in the wrong shard
    assert list(shard_names(dir)) == [NAME]
    assert list(shard_names(dir + "/absent")) == []


@pytest.mark.parametrize("name", ["", "..", "ab", "AB" + "0" * 62, "../" + "0" * 61, NAME + "0", "\u0661" * 64])
def test_nothing_else_becomes_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="hex digits"):
        shard_path("/dir", name)
