"""git's index as git writes it, in each version and form; and what is no index is an error with its reason."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from buildkit_py.errors import ContextError
from buildkit_py.executor.git_index import tracked
from buildkit_py.executor.git_split_index import joined
from buildkit_py.executor.tracked import Tracked
from buildkit_py.graph.op import WorkTree
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


def bitmap(bits: int, word: int) -> bytes:
    """One of EWAH with a single literal word."""
    return bits.to_bytes(4) + (2).to_bytes(4) + (1 << 33).to_bytes(8) + word.to_bytes(8) + bytes(4)


EMPTY = (0).to_bytes(4) + (1).to_bytes(4) + bytes(8) + bytes(4)


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
    git = repository.tree / ".git"
    return tracked((git / "index").read_bytes(), below, lambda name: (git / name).read_bytes())


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
    (top / "y").write_text("y")
    made("add", "y")
    if skip == "true":
        with pytest.raises(ValueError, match="--no-split-index"):
            read(made)
    else:
        assert read(made) == {b"x.sh": 0o100755, b"y": 0o100644} == wanted(made)


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_split_index(repository: Repository, version: str) -> None:
    """Whatever is done to it, both parts together are what git says."""
    chosen = random.Random(1)
    tree = repository.tree
    for number in range(200):
        (tree / f"many{number:03}").write_text(str(number))
    repository("add", "-A")
    repository("update-index", f"--index-version={version}")
    repository("update-index", "--split-index")
    # So that git never writes the shared part anew.
    repository("config", "splitIndex.maxPercentChange", "100")
    shared = sorted(tree.glob(".git/sharedindex.*"))
    assert shared
    assert read(repository) == wanted(repository)
    for _ in range(12):
        files = [path for path in tree.glob("many*") if path.is_file()]
        for path in chosen.sample(files, 9):
            chosen.choice(
                (path.unlink, lambda path=path: path.chmod(0o755), lambda path=path: path.write_text("other"))
            )()
        (tree / f"new{chosen.randrange(1000)}").write_text("new")
        repository("add", "-A")
        found = read(repository)
        assert found == wanted(repository)
        assert read(repository, "dir/") == {b"deep/b.sh": 0o100755, b"deep/c": 0o100644, "ö".encode(): 0o100644}
    assert sorted(tree.glob(".git/sharedindex.*")) == shared
    repository("rm", "-rqf", "--cached", ".")
    assert read(repository) == wanted(repository) == {}
    repository("update-index", "--no-split-index")
    assert read(repository) == {}


def test_runs_of_a_bitmap(repository: Repository) -> None:
    """Of more than two words that are all ones, or all zeros."""
    for number in range(500):
        (repository.tree / f"many{number:03}").write_text(str(number))
    repository("add", "-A")
    repository("update-index", "--split-index")
    repository("config", "splitIndex.maxPercentChange", "100")
    repository("rm", "-q", "--cached", *(f"many{number:03}" for number in range(100, 400)))
    repository("update-index", "--chmod=+x", "many450", "many000")
    assert read(repository) == wanted(repository)


def test_a_split_index_that_cannot_be_read(repository: Repository) -> None:
    data = (repository.tree / ".git/index").read_bytes()
    repository("update-index", "--split-index")
    with pytest.raises(ValueError, match="--no-split-index"):
        tracked((repository.tree / ".git/index").read_bytes())
    [shared] = repository.tree.glob(".git/sharedindex.*")
    shared.write_bytes(data)  # whole, and another one
    with pytest.raises(ValueError, match=f"its other part, {shared.name}, is damaged"):
        read(repository)
    shared.unlink()
    with pytest.raises(FileNotFoundError):
        read(repository)


@pytest.mark.parametrize(
    ("shared", "own", "changes", "message"),
    [
        ([(b"a", 1)], [(b"", 2)], b"", "fit"),
        ([(b"a", 1)], [], bytes(11), "cut short"),
        ([(b"a", 1)], [], bytes(25), "fit"),
        ([(b"a", 1)], [], EMPTY + bitmap(1, 1), "fit"),  # a replacement that is not there
        ([(b"a", 1)], [], bitmap(2, 2) + EMPTY, "fit"),  # an entry that is not there
        ([], [(b"", 2)], EMPTY + EMPTY, "fit"),  # a further one without a name
        ([(b"a", 1)], [], (64).to_bytes(4) + (1).to_bytes(4) + b"\xff" * 8 + bytes(4) + EMPTY, "cut short|fit"),
    ],
)
def test_parts_that_do_not_fit(
    shared: list[tuple[bytes, int]], own: list[tuple[bytes, int]], changes: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        joined(shared, own, changes)


def test_a_bitmap_says_what_goes_and_what_comes() -> None:
    shared = [(b"a", 1), (b"b", 2), (b"c", 3)]
    assert joined(shared, [(b"", 9), (b"d", 4)], bitmap(3, 0b001) + bitmap(3, 0b100)) == [
        (b"b", 2),
        (b"c", 9),
        (b"d", 4),
    ]
    assert joined(shared, [], b"") == shared


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


def test_no_bitmap_does_harm() -> None:
    chosen = random.Random(0)
    shared = [(b"%d" % number, 0o100644) for number in range(200)]
    good = bitmap(100, 1 << 40) + bitmap(64, 0b101)
    for _ in range(3000):
        damaged = bytearray(good)
        for _ in range(chosen.choice((1, 1, 3, 20))):
            damaged[chosen.randrange(len(good))] = chosen.randrange(256)
        try:
            joined(shared, shared[:4], bytes(damaged))
        except ValueError:
            pass


def test_an_index_that_cannot_be_read_is_named() -> None:
    """It opens, and then the disk fails."""
    with pytest.raises(ContextError, match=r"cannot read git's index: Input/output error$") as found:
        Tracked(WorkTree("/proc/self/mem"))
    assert found.value.at == "/proc/self/mem"
