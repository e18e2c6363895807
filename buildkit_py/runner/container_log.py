"""A container's log: a JSON object a line, as docker's own log driver writes it, with a bounded number of bytes.

    {"log": "text\\n", "stream": "stdout", "time": "2026-11-27T05:20:00.123456Z"}

Bytes that are no UTF-8 are lone surrogates in `log` (PEP 383), and so come out again as they were. When `log` is full
it becomes `log.1`, and the `log.1` from before goes. A file that follows another one begins with its number, by which
readers see whether one went that they have not read:

    {"part": 1}

Who holds the log keeps what it reads locked by flock(2), and no file goes that is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from _json import encode_basestring_ascii
from itertools import chain

from buildkit_py import json_text
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

LIMIT = 16 << 20
# A longer line is written in pieces, as docker does it.
_LONGEST_LINE = 16 << 10
_LONGEST_NUMBER = 64
_LOOKS = 0.1
_MISSING = b"[pybuild: lines are missing here: they were written faster than they were read]\n"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
STREAMS = {1: "stdout", 2: "stderr"}


class Line(Record):
    """What was written to `stream` (1 or 2), and when (RFC 3339); `data` ends with a newline unless it goes on."""

    stream: int
    time: str
    data: bytes


class LogWriter:
    """Takes the output of a container as it comes.

    A line for which there is no space is left out, and a line says so once there is: a container does not end because
    its log cannot be written. What comes while the log is full goes in all the same. Raises `OSError` where the log
    cannot be opened.
    """

    def __init__(self, directory: str, *, limit: int = LIMIT) -> None:
        self._path = directory + "/log"
        self._limit = limit
        self._partial = {1: b"", 2: b""}
        self._left_out = 0
        self._fd = os.open(self._path, _NEW, 0o600)
        self._size = os.fstat(self._fd).st_size
        self._part = _part_of(self._path)

    def is_full(self) -> bool:
        """Whether more should be written only when somebody who holds the log has read on."""
        return self._size > self._limit and self._is_held()

    def write(self, stream: int, piece: bytes) -> None:
        """Some bytes of a stream."""
        *whole, rest = (self._partial[stream] + piece).split(b"\n")
        lines = [one for line in whole for one in _cut(line + b"\n")]
        *long, self._partial[stream] = _cut(rest) or [b""]
        self._lines(stream, lines + long)

    def end(self) -> None:
        """The container ended: what no newline ended is written as it is."""
        for stream, rest in self._partial.items():
            if rest:
                self._lines(stream, [rest])
                self._partial[stream] = b""

    def close(self) -> None:
        os.close(self._fd)

    def _lines(self, stream: int, lines: list[bytes]) -> None:
        """Write them at once: a container that writes much waits for this."""
        if self._left_out:
            note = f"[pybuild: {self._left_out} lines could not be written here]\n".encode()
            if self._append(_as_json(2, [note])):
                self._left_out = 0
        if not self._append(_as_json(stream, lines)):
            self._left_out += len(lines)

    def _append(self, lines: bytes) -> bool:
        try:
            if self._size and self._size + len(lines) > self._limit and not self._is_held():
                self._turn_over()
            view = memoryview(lines)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self._size)  # nothing is left of a line that went in only in part
            return False
        self._size += len(lines)
        return True

    def _is_held(self) -> bool:
        """Whether somebody who holds the log still reads the file that would go."""
        try:
            fd = os.open(self._path + ".1", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _turn_over(self) -> None:
        """Go on in a new file. Raises `OSError` where there is no room for one; the next line tries again then."""
        fresh = os.open(self._path + ".new", _NEW | os.O_TRUNC, 0o600)
        try:
            number = b'{"part": %d}\n' % (self._part + 1)
            if os.write(fresh, number) < len(number):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            try:
                os.replace(self._path, self._path + ".1")
            except FileNotFoundError:
                pass  # it was put aside already, and the new one did not get its place
            os.replace(self._path + ".new", self._path)
        except BaseException:
            os.close(fresh)
            raise
        before, self._fd = self._fd, fresh
        self._size = len(number)
        self._part += 1
        os.close(before)


def _cut(line: bytes) -> list[bytes]:
    return [line[at : at + _LONGEST_LINE] for at in range(0, len(line), _LONGEST_LINE)]


def _as_json(stream: int, lines: list[bytes]) -> bytes:
    end = f', "stream": "{STREAMS[stream]}", "time": "{_now()}"}}\n'
    return "".join(
        ['{"log": ' + encode_basestring_ascii(line.decode("utf-8", "surrogateescape")) + end for line in lines]
    ).encode()


def _now() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"


class LogReader:
    """Reads a log on as it is written. One that is removed meanwhile is read to its end.

    Who has `hold` misses nothing: the container waits where it writes faster. Others get a line where some are missing.
    """

    def __init__(self, directory: str, *, hold: bool = False) -> None:
        self._directory = directory
        self._hold = hold
        self._files: list[BinaryIO] = []

    def first(self, tail: int = -1) -> Iterator[Line]:
        """What is there, oldest first, of that only the last `tail` lines (below 0: all). For the first look."""
        from collections import deque

        self._files = self._newer(None)
        lines = chain.from_iterable([_lines(file) for file in self._files])
        return lines if tail < 0 else iter(deque(lines, tail))

    def more(self) -> Iterator[Line]:
        """What has come since the last look."""
        self._close(self._files[:-1])
        self._files = self._files[-1:]
        current = self._files[0] if self._files else None
        if current is not None:
            yield from _lines(current)
        newer = self._newer(current)
        if not newer:
            return
        if current is not None:  # it was full, and what came last went in after the look above
            yield from _lines(current)
            if _part(newer[0]) > _part(current) + 1:
                yield Line(2, _now(), _MISSING)
        self.close()
        self._files = newer
        for file in newer:
            yield from _lines(file)

    def _newer(self, current: BinaryIO | None) -> list[BinaryIO]:
        """The files after the one that is read now, oldest first."""
        path = self._directory + "/log"
        while True:
            newest = self._open(path)
            if newest is not None and current is not None and _is_same(newest, current):
                newest.close()
                return []
            found = [file for file in (self._open(path + ".1"), newest) if file is not None]
            turned = not _is_named(newest, path)  # while we looked: one may be missing, or the older one be the newer
            unwanted = [file for file in found if turned or (current is not None and _is_same(file, current))]
            self._close(unwanted)
            if not turned:
                return [file for file in found if file not in unwanted]

    def _open(self, path: str) -> BinaryIO | None:
        try:
            file = open(path, "rb")
        except FileNotFoundError:
            return None
        if self._hold:
            fcntl.flock(file, fcntl.LOCK_SH)
        return file

    def close(self) -> None:
        """Read no more, and hold nothing."""
        self._close(self._files)
        self._files = []

    @staticmethod
    def _close(files: list[BinaryIO]) -> None:
        for file in files:
            file.close()


def read_log(directory: str, *, tail: int = -1, follow: Callable[[], bool] | None = None) -> Iterator[Line]:
    """What a container wrote, oldest first, of that only the last `tail` lines (below 0: all).

    While `follow` says that more may come, wait for it.
    """
    reader = LogReader(directory)
    try:
        yield from reader.first(tail)
        while follow is not None:
            more = follow()  # asked first: what is written before the end is read all the same
            yield from reader.more()
            if not more:
                return
            time.sleep(_LOOKS)
    finally:
        reader.close()


def _is_same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


def _is_named(file: BinaryIO | None, path: str) -> bool:
    """Whether that is what has the name now; None stands for nothing."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return file is None
    return file is not None and os.path.samestat(os.fstat(file.fileno()), status)


def _part_of(path: str) -> int:
    with open(path, "rb") as file:
        return _part(file)


def _part(file: BinaryIO) -> int:
    """The number of a file, which stays where it is: of the first one it is 0."""
    try:
        value = json_text.load(os.pread(file.fileno(), _LONGEST_NUMBER, 0).partition(b"\n")[0].decode())
        return int(value["part"])
    except (ValueError, KeyError, TypeError):
        return 0


def _lines(file: BinaryIO) -> Iterator[Line]:
    """The whole lines from where a file is, which is then behind the last: what has no end is being written now."""
    streams = {name: number for number, name in STREAMS.items()}
    while (line := file.readline()).endswith(b"\n"):
        try:
            value = json_text.load(line.decode())
            yield Line(streams[value["stream"]], value["time"], value["log"].encode("utf-8", "surrogateescape"))
        except (ValueError, KeyError, TypeError):
            continue  # torn when the machine went down
    file.seek(-len(line), os.SEEK_CUR)
