"""Packages of a root filesystem: what records say that nobody could have installed takes no memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from buildkit_py.image.packages import Packages, packages
from buildkit_py.image.union import Union

APK = "lib/apk/db/installed"
RECORD = "usr/lib/python3/site-packages/it-1.dist-info/RECORD"
LARGE = 1 << 28


def _found(root: Path, name: str, text: str) -> Packages:
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    union = Union([str(root)])
    tracemalloc.start()
    try:
        found = packages(union, union.walk(""), files=True)
        assert tracemalloc.get_traced_memory()[1] < 3 * LARGE
    finally:
        tracemalloc.stop()
    return found


def test_files_of_a_package(tmp_path: Path) -> None:
    found = _found(tmp_path, APK, "P:it\nV:1\nF:opt/it\nR:a\nR:b\nF:\nR:c\n")
    assert [package.files for package in found.found] == [("opt/it/a", "opt/it/b", "c")]
    assert found.unread == ()


def test_a_path_that_is_none_is_left_out(tmp_path: Path) -> None:
    directory = "d" * 1_000_000
    found = _found(tmp_path, APK, f"P:it\nV:1\nF:{directory}\n" + "R:a\n" * 1000 + "F:opt\nR:a\n")
    assert [package.files for package in found.found] == [("opt/a",)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (APK, f"P:it\nV:1\nF:{'d' * 4000}\n" + "R:a\n" * 100_000),
        (RECORD.replace("usr", "/".join(["u" * 200] * 9)), "a,,\n" * 200_000),
    ],
    ids=["apk", "python"],
)
def test_more_files_than_there_can_be_are_told(tmp_path: Path, name: str, text: str) -> None:
    found = _found(tmp_path, name, text)
    assert [package.version for package in found.found] == ["1"]
    (told,) = found.unread
    assert told == f"{name}: the packages have more files than a system can have"
