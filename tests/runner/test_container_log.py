from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from buildkit_py.runner.container_log import LogWriter, read_log


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
