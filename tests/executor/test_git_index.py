"""git's index as git writes it, in each version and form; and what is no index is an error with its reason."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from buildkit_py.executor.git_index import tracked
from tests.git_server import Repository
from tests.needs import need

FILES = {
    "a": "1\n",
    "dir/deep/b.sh": "2\n",
    "dir/deep/c": "3\n",
    "dir/ö": "4\n",
    "long/" + "n" * 200: "5\n",
    "long/" + "n" * 200 + "2": "6\n",
    "z" * 120 + "/" + "y" * 120: "7\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    need("git")
    made = Repository(tmp_path, "r")
    made.commit(FILES)
    (made.tree / "dir/deep/b.sh").chmod(0o755)
    (made.tree / "link").symlink_to("a")
    made("add", "-A")
    return made


def read(repository: Repository, below: str = "") -> dict[bytes, int]:
    return tracked((repository.tree / ".git/index").read_bytes(), below)


def wanted(repository: Repository) -> dict[bytes, int]:
    lines = repository("ls-files", "-s", "-z").split("\0")
    return {line.partition("\t")[2].encode(): int(line.split()[0], 8) for line in lines if line}


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_each_version(repository: Repository, version: str) -> None:
    if version == "3":  # git writes it where an entry has an extended flag
        (repository.tree / "later").write_text("later")
        repository("add", "--intent-to-add", "later")
    else:
        repository("update-index", f"--index-version={version}")
    data = (repository.tree / ".git/index").read_bytes()
    assert data[7] == int(version)
    found = read(repository)
    assert found == wanted(repository)
    assert found[b"dir/deep/b.sh"] == 0o100755
    assert found[b"link"] == 0o120000
    assert read(repository, "dir/") == {b"deep/b.sh": 0o100755, b"deep/c": 0o100644, "ö".encode(): 0o100644}


def test_a_name_longer_than_its_length_field(repository: Repository) -> None:
    name = "/".join("d" * 200 for _ in range(25))
    blob = repository("hash-object", "-w", "a")
    repository("update-index", "--add", "--cacheinfo", f"100755,{blob},{name}")
    assert read(repository)[name.encode()] == 0o100755
    assert read(repository) == wanted(repository)


def test_without_a_checksum_and_with_extensions(repository: Repository) -> None:
    repository("config", "index.skipHash", "true")
    repository("update-index", "--force-write-index")
    assert (repository.tree / ".git/index").read_bytes().endswith(bytes(20))
    assert read(repository) == wanted(repository)
    repository("config", "index.skipHash", "false")
    repository("update-index", "--untracked-cache", "--force-write-index")
    repository("status")
    assert read(repository) == wanted(repository)


@pytest.mark.parametrize("version", ["2", "4"])
def test_without_a_checksum_where_zeros_stand_before_it(tmp_path: Path, version: str) -> None:
    """As under `feature.manyFiles`: what git knows of untracked files may end in zeros of its own."""
    need("git")
    repository = Repository(tmp_path, "r")
    repository("config", "index.skipHash", "true")
    repository("update-index", f"--index-version={version}", "--untracked-cache", "--force-write-index")
    repository("status")
    (repository.tree / "a").write_text("1")
    repository("add", "a")
    data = (repository.tree / ".git/index").read_bytes()
    assert data.endswith(bytes(33))
    assert read(repository) == wanted(repository)
    repository("update-index", "--split-index")
    with pytest.raises(ValueError, match="--no-split-index"):
        read(repository)


@pytest.mark.parametrize("skip", ["false", "true"])
def test_sha256(tmp_path: Path, skip: str) -> None:
    need("git")
    top = tmp_path / "other"
    top.mkdir()
    made = Repository(tmp_path, "r")
    made("init", "-q", "--object-format=sha256", str(top))
    made.tree = top
    made("config", "index.skipHash", skip)
    (top / "x.sh").write_text("x")
    (top / "x.sh").chmod(0o755)
    made("add", "-A")
    assert (top / ".git/index").read_bytes().endswith(bytes(32)) == (skip == "true")
    assert read(made) == {b"x.sh": 0o100755}
    made("update-index", "--split-index")
    with pytest.raises(ValueError, match="--no-split-index"):
        read(made)


def test_a_split_index_says_what_to_do(repository: Repository) -> None:
    repository("update-index", "--split-index")
    with pytest.raises(ValueError, match="--no-split-index"):
        read(repository)


def test_what_is_no_index(repository: Repository) -> None:
    data = (repository.tree / ".git/index").read_bytes()
    for other, message in (
        (b"", "cut short"),
        (b"DIRC" + bytes(8), "no index of version"),
        (b"text" * 20, "no index of version"),
        (data[:-1], "checksum"),
        (data[:40], "checksum"),
        (data[:50] + b"\xff" + data[51:], "checksum"),
    ):
        with pytest.raises(ValueError, match=message):
            tracked(other)


def test_no_bytes_do_harm(repository: Repository) -> None:
    """Whatever stands in an index without a checksum: an answer, or an error that says so."""
    data = bytearray((repository.tree / ".git/index").read_bytes()[:-20] + bytes(20))
    chosen = random.Random(0)
    for _ in range(3000):
        damaged = bytearray(data)
        for _ in range(chosen.choice((1, 1, 3, 20))):
            damaged[chosen.randrange(8, len(data) - 20)] = chosen.randrange(256)
        try:
            tracked(bytes(damaged))
        except ValueError:
            pass
