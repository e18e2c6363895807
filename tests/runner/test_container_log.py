from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.runner.container_log import LogReader, LogWriter, read_log
from tests.needs import need


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


@pytest.mark.parametrize("at_once", [8, 41])
def test_who_follows_misses_nothing_when_it_is_turned_over(tmp_path: Path, at_once: int) -> None:
    """Once between two looks, or twice: a file takes 24 lines."""
    writer = LogWriter(str(tmp_path), limit=2000)
    numbers = iter(range(150))
    written = 0

    def more() -> bool:
        nonlocal written
        for number in [next(numbers, None) for _ in range(at_once)]:
            if number is not None:
                writer.write(1, b"line %d\n" % number)
                written += 1
        return written < 150

    followed: Iterator[bytes] = (line.data for line in read_log(str(tmp_path), follow=more))
    assert list(followed) == [b"line %d\n" % number for number in range(150)]
    writer.close()


# In a process of its own: files of one line each, without end.
TURNING = """
import itertools, sys
sys.path[:] = sys.argv[2:]
from buildkit_py.runner.container_log import LogWriter
writer = LogWriter(sys.argv[1], limit=1)
for number in itertools.count():
    writer.write(1, b"%d\\n" % number)
"""


def test_who_looks_while_it_is_turned_over(tmp_path: Path) -> None:
    """The two files are those of one moment."""
    pairs: list[list[int]] = []
    with subprocess.Popen([sys.executable, "-c", TURNING, str(tmp_path), *sys.path]) as writer:
        while len(pairs) < 3000:
            assert writer.poll() is None
            reader = LogReader(str(tmp_path))
            seen = [int(line.data) for line in reader.first()]
            reader.close()
            if len(seen) == 2:  # the newer one may have no line yet
                pairs.append(seen)
        writer.kill()
    assert [pair for pair in pairs if pair[0] + 1 != pair[1]] == []


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


# In a mount namespace of its own: a disk on which no file more can be made for a while.
NO_MORE_FILES = """
import os, subprocess, sys
sys.path[:] = sys.argv[2:]
from buildkit_py.runner.container_log import LogWriter
disk = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=6", "none", disk], check=True)
writer = LogWriter(disk, limit=2000)
number, ballast = 0, []
try:
    while True:
        ballast.append(f"{disk}/ballast{len(ballast)}")
        open(ballast[-1], "x").close()
except OSError:
    ballast.pop()
def write(lines):
    global number
    for _ in range(lines):
        writer.write(1, b"line %d\\n" % number)
        number += 1
write(40)
assert sorted(os.listdir(disk)) == sorted(["log", *map(os.path.basename, ballast)]), os.listdir(disk)
for path in ballast:
    os.unlink(path)
write(10)
writer.close()
print(*os.listdir(disk))
sys.stdout.write(open(disk + "/log.1").read() + open(disk + "/log").read())
"""


def test_it_goes_on_when_there_is_room_for_a_new_file_again(tmp_path: Path) -> None:
    need("unshare", "mount")
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    argv = [*command, sys.executable, "-c", NO_MORE_FILES, str(tmp_path), *sys.path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names, _, log = done.stdout.partition("\n")
    assert set(names.split()) == {"log", "log.1"}
    (tmp_path / "log").write_text(log)
    lines = [data for _, data in texts(tmp_path)]
    kept = len(lines) - 11
    assert 10 < kept < 40
    assert lines[:kept] == [b"line %d\n" % number for number in range(kept)]
    assert lines[kept] == b"[pybuild: %d lines could not be written here]\n" % (40 - kept)
    assert lines[kept + 1 :] == [b"line %d\n" % number for number in range(40, 50)]


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


def test_who_misses_lines_is_told(tmp_path: Path) -> None:
    reader = LogReader(str(tmp_path))
    writer = LogWriter(str(tmp_path), limit=2000)
    writer.write(1, b"line 0\n")
    assert [line.data for line in reader.first()] == [b"line 0\n"]
    for number in range(1, 200):
        writer.write(1, b"line %d\n" % number)
        if number == 99:  # another supervisor goes on with it
            writer.close()
            writer = LogWriter(str(tmp_path), limit=2000)
    seen = [(line.stream, line.data) for line in reader.more()]
    at = [stream for stream, _ in seen].index(2)
    assert seen[at] == (2, b"[pybuild: lines are missing here: they were written faster than they were read]\n")
    assert [data for _, data in seen[:at]] == [b"line %d\n" % number for number in range(1, at + 1)]
    rest = [data for _, data in seen[at + 1 :]]
    assert rest == [b"line %d\n" % number for number in range(200 - len(rest), 200)]
    assert at + len(rest) < 199
    assert list(reader.more()) == []
    reader.close()
    writer.close()


def test_who_holds_it_misses_nothing(tmp_path: Path) -> None:
    """Whoever writes waits where it is full, or writes more than it should hold."""
    reader = LogReader(str(tmp_path), hold=True)
    writer = LogWriter(str(tmp_path), limit=2000)
    writer.write(1, b"line 0\n")
    seen = [line.data for line in reader.first()]
    number = 0
    for _ in range(5):
        while not writer.is_full():
            number += 1
            writer.write(1, b"line %d\n" % number)
        for _ in range(30):
            number += 1
            writer.write(1, b"line %d\n" % number)
        seen += [line.data for line in reader.more()]
    assert seen == [b"line %d\n" % each for each in range(number + 1)]
    for _ in range(100):
        writer.write(1, b"more\n")
    assert writer.is_full()
    reader.close()
    assert not writer.is_full()
    writer.write(1, b"last\n")
    writer.close()
    assert (tmp_path / "log").stat().st_size < 2000
    assert texts(tmp_path, tail=1) == [(1, b"last\n")]


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
