from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from buildkit_py.runner.container_log import LogReader, LogWriter, read_log


def texts(directory: Path, **options: int) -> list[tuple[int, bytes]]:
    return [(line.stream, line.data) for line in read_log(str(directory), **options)]  # type: ignore[arg-type]


def test_lines_come_out_as_they_went_in(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path))
    writer.write(1, b"a\nb")
    writer.write(2, b"\xff\xc3\n")
    writer.write(1, "ü\n\n".encode() + b"x" * 40_000)
    writer.write(1, b"\nrest")
    writer.end()
    writer.close()
    lines = texts(tmp_path)
    assert b"".join(data for stream, data in lines if stream == 1) == "a\nbü\n\n".encode() + b"x" * 40_000 + b"\nrest"
    assert [data for stream, data in lines if stream == 2] == [b"\xff\xc3\n"]
    assert max(len(data) for _, data in lines) <= 16 << 10
    assert texts(tmp_path, tail=1) == [(1, b"rest")]
    assert texts(tmp_path, tail=0) == []


def test_it_is_bounded(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), limit=2000)
    for number in range(200):
        writer.write(1, b"line %d\n" % number)
    writer.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    lines = [data for _, data in texts(tmp_path)]
    assert lines == [b"line %d\n" % number for number in range(200 - len(lines), 200)]
    assert len(lines) > 15


def test_who_follows_misses_nothing_when_it_is_turned_over(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), limit=2000)
    numbers = iter(range(100))
    written = 0

    def more() -> bool:
        nonlocal written
        # Eight lines a look: the log is turned over between looks, but never twice.
        for number in [next(numbers, None) for _ in range(8)]:
            if number is not None:
                writer.write(1, b"line %d\n" % number)
                written += 1
        return written < 100

    followed: Iterator[bytes] = (line.data for line in read_log(str(tmp_path), follow=more))
    assert list(followed) == [b"line %d\n" % number for number in range(100)]
    writer.close()


def test_torn_lines_are_passed_over(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path))
    writer.write(1, b"a\n")
    with open(tmp_path / "log", "ab") as file:
        file.write(b'{"log": "x\n[1]\n' + os.urandom(20).replace(b"\n", b"") + b"\n")
    writer.write(1, b"b\n")
    writer.close()
    assert texts(tmp_path) == [(1, b"a\n"), (1, b"b\n")]


# In a process of its own, which may write no file of more than 1,000 bytes for a while.
FULL = """
import resource, sys
sys.path[:] = sys.argv[2:]
from buildkit_py.runner.container_log import LogWriter
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
writer = LogWriter(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
for number in range(50):
    writer.write(1, b"line %d\\n" % number)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.write(1, b"after\\n")
writer.close()
"""


def test_a_line_without_space_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FULL, str(tmp_path), *sys.path], check=True)
    lines = [data for _, data in texts(tmp_path)]
    kept = len(lines) - 2
    assert 5 < kept < 50
    assert lines[:kept] == [b"line %d\n" % number for number in range(kept)]
    assert lines[kept:] == [b"[pybuild: %d lines could not be written here]\n" % (50 - kept), b"after\n"]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path))
    writer.write(1, b"a\nb\n")
    writer.close()
    log = tmp_path / "log"
    whole = log.read_bytes()
    log.write_bytes(whole[:-10])

    def more() -> bool:
        log.write_bytes(whole)
        return False

    assert [line.data for line in read_log(str(tmp_path), follow=more)] == [b"a\n", b"b\n"]


def test_a_reader_goes_on_where_it_was(tmp_path: Path) -> None:
    reader = LogReader(str(tmp_path))
    assert list(reader.first()) == []
    assert list(reader.more()) == []
    writer = LogWriter(str(tmp_path), limit=400)
    writer.write(1, b"a\n")
    assert [line.data for line in reader.more()] == [b"a\n"]
    assert list(reader.more()) == []
    seen = []
    for number in range(20):  # it is full again and again meanwhile
        writer.write(1, b"%d\n" % number)
        seen += [line.data for line in reader.more()]
    assert seen == [b"%d\n" % number for number in range(20)]
    late = LogReader(str(tmp_path))
    assert [line.data for line in late.first(tail=1)] == [b"19\n"]
    writer.write(2, b"last\n")
    assert [line.data for line in late.more()] == [b"last\n"]
    for one in (reader, late):
        one.close()
    writer.close()
