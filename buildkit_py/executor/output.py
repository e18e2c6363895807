"""The output of a step: read as it comes, cut into lines for people, kept whole in the step's log."""

from __future__ import annotations

import os
import select

from buildkit_py.store.faults import store_error
from buildkit_py.store.work import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# A line longer than this is shown in pieces; the log has it whole.
_LONGEST_LINE = 1 << 16
# A step that floods its output must not fill the disk: the log says where it was cut.
LOG_LIMIT = 64 << 20
_CAPTURE_LIMIT = 1 << 20


class Pump:
    """Reads a step's standard output and error until both are closed.

    `line(stream, text)` is called for each line; `log` is a path that gets
    the raw bytes of both, behind what it has with `append`; with `capture`
    standard output is kept as `text`.
    """

    def __init__(
        self, line: Callable[[int, str], None], log: str, *, capture: bool = False, append: bool = False
    ) -> None:
        self._line = line
        self._log = log
        self._as_new = os.O_APPEND if append else os.O_TRUNC
        self._capture = capture
        self._captured = bytearray()
        self._partial = {1: bytearray(), 2: bytearray()}
        self.tail: list[str] = []

    @property
    def text(self) -> str:
        """Standard output without its trailing newlines, as `$( )` of a shell gives it."""
        return self._captured.decode("utf-8", "surrogateescape").rstrip("\n")

    def run(self, stdout: int, stderr: int) -> None:
        """Read both pipes to their ends and close them. Raises `StoreError` where the log cannot be written."""
        streams = {stdout: 1, stderr: 2}
        poll = select.poll()
        for fd in streams:
            poll.register(fd, select.POLLIN)
        written = 0
        log = -1
        try:
            log = self._open_log()
            while streams:
                for fd, _ in poll.poll():
                    piece = os.read(fd, 1 << 16)
                    if not piece:
                        poll.unregister(fd)
                        os.close(fd)
                        self._end_of(streams.pop(fd))
                        continue
                    if written < LOG_LIMIT:
                        written += len(piece)
                        cut = b"\n[pybuild: the log was cut here at %d bytes]\n" % written
                        self._write_log(log, piece + cut if written >= LOG_LIMIT else piece)
                    self._take(streams[fd], piece)
        finally:
            for fd in streams:
                os.close(fd)
            if log >= 0:
                os.close(log)

    def _open_log(self) -> int:
        try:
            return os.open(self._log, os.O_WRONLY | os.O_CREAT | self._as_new | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise store_error(problem, self._log, "write a step's log") from problem

    def _write_log(self, log: int, data: bytes) -> None:
        try:
            write_all(log, data)
        except OSError as problem:
            raise store_error(problem, self._log, "write a step's log") from problem

    def _take(self, stream: int, piece: bytes) -> None:
        if stream == 1 and self._capture and len(self._captured) < _CAPTURE_LIMIT:
            self._captured += piece
        partial = self._partial[stream]
        partial += piece
        lines = partial.split(b"\n")
        rest = lines.pop()
        for line in lines:
            self._say(stream, line)
        while len(rest) > _LONGEST_LINE:
            self._say(stream, rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._partial[stream] = bytearray(rest)

    def _end_of(self, stream: int) -> None:
        if self._partial[stream]:
            self._say(stream, self._partial[stream])
            self._partial[stream] = bytearray()

    def _say(self, stream: int, line: bytes | bytearray) -> None:
        text = line.decode("utf-8", "replace").removesuffix("\r")
        self.tail.append(text)
        del self.tail[:-50]
        self._line(stream, text)
