"""A scan of many files: compared by two processes, with the answer that one would give."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from buildkit_py.executor.context_tree import ContextTree
from buildkit_py.store.scan import Scan

_DIRECTORIES, _FILES = 50, 100


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("many")
    for number in range(_DIRECTORIES):
        directory = top / f"d{number:02}"
        directory.mkdir()
        for name in range(_FILES):
            (directory / f"f{name:02}").touch()
    return top


def scan_of(root: Path) -> Scan:
    time.sleep(0.03)  # so that nothing is too young to be believed
    tree = ContextTree(str(root))
    tree.walk("")
    scan = Scan.load(tree.scan.dump())
    assert scan is not None
    assert len(scan.listings) == _DIRECTORIES + 1
    return scan


def children() -> set[str]:
    """The processes that this one started and has not waited for; those of other tests' fixtures are among them."""
    me = str(os.getpid())
    found = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if stat.rpartition(")")[2].split()[1] == me:
            found.add(name)
    return found


def test_holds_as_long_as_nothing_changes(root: Path) -> None:
    scan = scan_of(root)
    before = children()
    assert scan.holds()
    assert scan.holds()
    assert children() == before


@pytest.mark.parametrize("directory", ["d00", "d24", "d26", "d49"])
def test_a_change_is_seen_in_either_half(root: Path, directory: str) -> None:
    scan = scan_of(root)
    before = children()
    (root / directory / "f50").write_text("x")
    assert not scan.holds()
    assert children() == before


@pytest.mark.parametrize("directory", ["d00", "d49"])
def test_a_new_file_and_one_that_is_gone_are_seen_in_either_half(root: Path, directory: str) -> None:
    scan = scan_of(root)
    before = children()
    (root / directory / "new").touch()
    assert not scan.holds()
    scan = scan_of(root)
    (root / directory / "new").unlink()
    assert not scan.holds()
    assert children() == before


@pytest.mark.attack("K5")
def test_a_damaged_scan_is_none(root: Path) -> None:
    whole = scan_of(root).dump()
    for at in range(0, len(whole), 1 + len(whole) // 500):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        assert Scan.load(bytes(damaged)) is None
        assert Scan.load(whole[:at]) is None
