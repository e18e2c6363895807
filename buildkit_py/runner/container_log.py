"""A container's log: a JSON object a line, as docker's own log driver writes it, with a bounded number of bytes.

    {"log": "text\\n", "stream": "stdout", "time": "2026-11-27T05:20:00.123456Z"}

Bytes that are no UTF-8 are lone surrogates in `log` (PEP 383), and so come out again as they were. When `log` is full
it becomes `log.1`, and the `log.1` from before goes.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

LIMIT = 16 << 20
# A longer line is written in pieces, as docker does it.
_LONGEST_LINE = 16 << 10
_LOOKS = 0.1
STREAMS = {1: "stdout", 2: "stderr"}


class Line(Record):
    """What was written to `stream` (1 or 2), and when (RFC 3339); `data` ends with a newline unless it goes on."""

    stream: int
    time: str
    data: bytes


class LogWriter:
    """Takes the output of a container as it comes.

    A line for which there is no space is left out, and a line says so once there is: a container does not end because
    its log cannot be written. Raises `OSError` where the log cannot be opened.
    """

    def __init__(self, directory: str, *, limit: int = LIMIT) -> None:
        self._path = directory + "/log"
        self._limit = limit
        self._partial = {1: b"", 2: b""}
        self._left_out = 0
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write(self, stream: int, piece: bytes) -> None:
        """Some bytes of a stream."""
        *whole, rest = (self._partial[stream] + piece).split(b"\n")
        for line in whole:
            self._line(stream, line + b"\n")
        while len(rest) > _LONGEST_LINE:
            self._line(stream, rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._partial[stream] = rest

    def end(self) -> None:
        """The container ended: what no newline ended is written as it is."""
        for stream, rest in self._partial.items():
            if rest:
                self._line(stream, rest)
                self._partial[stream] = b""

    def close(self) -> None:
        os.close(self._fd)

    def _line(self, stream: int, data: bytes) -> None:
        if self._left_out:
            note = f"[pybuild: {self._left_out} lines could not be written here]\n".encode()
            if self._append(_as_json(2, note)):
                self._left_out = 0
        self._left_out += not self._append(_as_json(stream, data))

    def _append(self, line: bytes) -> bool:
        try:
            if self._size and self._size + len(line) > self._limit:
                self._turn_over()
            view = memoryview(line)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self._size)  # nothing is left of a line that went in only in part
            return False
        self._size += len(line)
        return True

    def _turn_over(self) -> None:
        os.replace(self._path, self._path + ".1")
        before, self._fd = self._fd, self._open()
        self._size = 0
        os.close(before)


def _as_json(stream: int, data: bytes) -> bytes:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
    text = data.decode("utf-8", "surrogateescape")
    return (json.dumps({"log": text, "stream": STREAMS[stream], "time": stamp}) + "\n").encode()


def read_log(directory: str, *, tail: int = -1, follow: Callable[[], bool] | None = None) -> Iterator[Line]:
    """What a container wrote, oldest first, of that only the last `tail` lines (below 0: all).

    While `follow` says that more may come, wait for it.
    """
    inode, at = -1, 0
    kept: deque[Line] = deque(maxlen=tail if tail >= 0 else None)
    for name in ("/log.1", "/log"):
        try:
            file = open(directory + name, "rb")
        except FileNotFoundError:
            continue
        with file:
            if tail < 0:
                yield from _lines(file)
            else:
                kept.extend(_lines(file))
            inode, at = os.fstat(file.fileno()).st_ino, file.tell()
    yield from kept
    while follow is not None:
        more = follow()  # asked first: what is written before the end is read all the same
        try:
            file = open(directory + "/log", "rb")
        except FileNotFoundError:
            return
        with file:
            status = os.fstat(file.fileno())
            if status.st_ino != inode:
                yield from _rest(directory + "/log.1", inode, at)
                inode, at = status.st_ino, 0
            file.seek(at)
            yield from _lines(file)
            at = file.tell()
        if not more:
            return
        time.sleep(_LOOKS)


def _rest(path: str, inode: int, at: int) -> Iterator[Line]:
    """What came into the log after it was looked at last and before it was put aside."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_ino == inode:
                file.seek(at)
                yield from _lines(file)
    except FileNotFoundError:
        pass


def _lines(file: BinaryIO) -> Iterator[Line]:
    """The whole lines from where a file is, which is then behind the last: what has no end is being written now."""
    streams = {name: number for number, name in STREAMS.items()}
    while (line := file.readline()).endswith(b"\n"):
        try:
            value = json.loads(line)
            yield Line(streams[value["stream"]], value["time"], value["log"].encode("utf-8", "surrogateescape"))
        except (ValueError, KeyError, TypeError):
            continue  # torn when the machine went down
    file.seek(-len(line), os.SEEK_CUR)
