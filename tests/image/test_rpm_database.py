"""The database of rpm: one that rpm wrote, what is not yet in its file, and what is no such database."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest

from buildkit_py.errors import ContextError
from buildkit_py.image import rpm_database
from buildkit_py.image.rpm_database import packages
from buildkit_py.image.union import Union
from tests.image.rpms import STRING, header, written_by_rpm

PATH = "var/lib/rpm/rpmdb.sqlite"
HEADER = header([(1000, STRING, 1, b"x\0"), (1001, STRING, 1, b"1\0"), (1002, STRING, 1, b"2\0")])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the database of a root is; the root is the parent of `var`."""
    path = tmp_path / "root" / PATH
    path.parent.mkdir(parents=True)
    return path


def read(place: Path, *, files: bool = False) -> list[tuple[str, str, tuple[str, ...]]]:
    return packages(Union([str(place.parents[3])]), PATH, (1 << 20) if files else 0)


def test_what_rpm_wrote(place: Path, tmp_path: Path) -> None:
    place.write_bytes(written_by_rpm(tmp_path, {"hello": "1.2", "other": "7"}))
    assert sorted(found[:2] for found in read(place)) == [("hello", "2:1.2-3"), ("other", "2:7-3")]
    files = next(found[2] for found in read(place, files=True) if found[0] == "hello")
    assert sorted(files) == ["opt/hello", "opt/hello/data", "opt/hello/data/more", "opt/hello/large"]
    assert [path.name for path in place.parent.iterdir()] == ["rpmdb.sqlite"]  # reading leaves nothing in a layer


def test_what_is_still_in_the_log_counts(place: Path, tmp_path: Path) -> None:
    open_one = sqlite3.connect(tmp_path / "db")
    open_one.execute("PRAGMA journal_mode = WAL")
    open_one.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)")
    open_one.execute("INSERT INTO Packages (blob) VALUES (?)", (HEADER,))
    open_one.commit()
    shutil.copy(tmp_path / "db", place)
    shutil.copy(tmp_path / "db-wal", f"{place}-wal")
    open_one.close()
    assert read(place) == [("x", "1-2", ())]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("CREATE TABLE other (x)", "no table of packages"),
        ("CREATE VIEW Packages AS SELECT 1 AS hnum, x'00' AS blob", "no table of packages"),
        ("CREATE TABLE Packages (hnum INTEGER, blob GENERATED ALWAYS AS (zeroblob(9)))", "no table of packages"),
        ("CREATE TABLE Packages (hnum INTEGER, blob AS (zeroblob(9)))", "no table of packages"),
        ("CREATE VIRTUAL TABLE Packages USING fts5(blob, hnum)", "no table of packages"),
        ("CREATE TABLE Packages (hnum INTEGER)", "no such column"),
        ("CREATE TABLE Packages (hnum INTEGER, blob); INSERT INTO Packages VALUES (1, 'text')", "no header"),
        ("CREATE TABLE Packages (hnum INTEGER, blob); INSERT INTO Packages VALUES (1, x'00')", "shorter"),
        ("CREATE TABLE Packages (hnum INTEGER, blob); INSERT INTO Packages VALUES (1, zeroblob(8))", "no name"),
    ],
)
def test_what_is_no_database_of_rpm(place: Path, script: str, message: str) -> None:
    with sqlite3.connect(place) as database:
        database.executescript(script)
    database.close()
    with pytest.raises(ValueError, match=message):
        read(place)


def test_what_is_no_database_at_all(place: Path) -> None:
    place.write_bytes(b"no database of any kind" * 100)
    with pytest.raises(ValueError, match="not a database"):
        read(place)


def test_a_question_that_costs_too_much_is_given_up(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(place) as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER, blob)")
        database.executemany("INSERT INTO Packages VALUES (?, ?)", [(-number, HEADER) for number in range(2000)])
    database.close()
    assert len(read(place)) == 2000
    monkeypatch.setattr(rpm_database, "_INSTRUCTIONS", 100)
    monkeypatch.setattr(rpm_database, "_TOLD", 10)
    with pytest.raises(ValueError, match="interrupted"):
        read(place)


def test_one_that_is_too_large(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write_bytes(bytes(2000))
    monkeypatch.setattr(rpm_database, "_LARGEST", 1000)
    with pytest.raises(ContextError, match="more than 1000 bytes"):
        read(place)


def test_without_a_place_for_the_copy_it_is_not_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write_bytes(b"x")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ContextError, match=r"var/lib/rpm/rpmdb.sqlite.*No such file or directory"):
        read(place)
