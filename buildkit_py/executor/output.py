"""The output of a step: read as it comes, cut into lines for people, kept whole in the step's log."""

from __future__ import annotations

import os
import select
import sys

from buildkit_py.store.faults import store_error
from buildkit_py.store.work import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.executor.secret_mask import Mask

# A line longer than this is shown in pieces; the log has it whole.
_LONGEST_LINE = 1 << 16
# A step that floods its output must not fill the disk: the log says where it was cut.
LOG_LIMIT = 64 << 20
_CAPTURE_LIMIT = 1 << 20
# How many milliseconds a mask may hold back a whole line.
_LULL = 200


class Pump:
    """Reads a step's standard output and error until both are closed.

    `line(stream, text)` is called for each line; `log` is a path that gets
    the raw bytes of both, behind what it has with `append`; with `capture`
    standard output is kept as `text`. `mask` makes a mask for each stream: it
    hides secrets from lines and log, though not from `text`, and `masked` are
    the ids of those.
    """

    def __init__(
        self,
        line: Callable[[int, str], None],
        log: str,
        *,
        capture: bool = False,
        append: bool = False,
        mask: Callable[[], Mask | None] | None = None,
    ) -> None:
        self._line = line
        self._log = log
        self._log_fd = -1
        self._written = 0
        self._as_new = os.O_APPEND if append else os.O_TRUNC
        self._capture = capture
        self._captured = bytearray()
        self._partial = {1: bytearray(), 2: bytearray()}
        self._masks: dict[int, Mask] = {}
        if mask is not None:
            self._masks = {stream: one for stream in (1, 2) if (one := mask()) is not None}
        self.tail: list[str] = []

    @property
    def text(self) -> str:
        """Standard output without its trailing newlines, as `$( )` of a shell gives it."""
        return self._captured.decode("utf-8", "surrogateescape").rstrip("\n")

    def run(self, stdout: int, stderr: int, gone: int = -1) -> None:
        """Read both pipes to their ends and close them. Raises `StoreError` where the log cannot be written.

        `gone` is the pidfd of who writes, where others may keep the pipes open, and write on: what is in them when it
        has ended is all then.
        """
        streams = {stdout: 1, stderr: 2}
        poll = select.poll()
        for fd in streams:
            poll.register(fd, select.POLLIN)
        if gone >= 0:
            poll.register(gone, select.POLLIN)
        try:
            self._open_log()
            while streams:
                ready = poll.poll(_LULL if any(mask.waits for mask in self._masks.values()) else None)
                if not ready:
                    for stream, mask in self._masks.items():
                        self._show(stream, mask.lull())
                if any(fd == gone for fd, _ in ready):
                    for fd in tuple(streams):
                        piece = _held(fd)
                        os.close(fd)
                        stream = streams.pop(fd)
                        self._take(stream, piece)
                        self._end_of(stream)
                    break
                for fd, _ in ready:
                    if fd not in streams:
                        continue
                    piece = os.read(fd, 1 << 16)
                    if not piece:
                        poll.unregister(fd)
                        os.close(fd)
                        self._end_of(streams.pop(fd))
                        continue
                    self._take(streams[fd], piece)
        finally:
            for fd in streams:
                os.close(fd)
            if self._log_fd >= 0:
                os.close(self._log_fd)

    @property
    def masked(self) -> set[str]:
        """The ids of the secrets that were printed."""
        return {id for mask in self._masks.values() for id in mask.hidden}

    def _open_log(self) -> None:
        try:
            self._log_fd = os.open(self._log, os.O_WRONLY | os.O_CREAT | self._as_new | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise store_error(problem, self._log, "write a step's log") from problem

    def _write_log(self, piece: bytes) -> None:
        if self._written >= LOG_LIMIT:
            return
        self._written += len(piece)
        if self._written >= LOG_LIMIT:
            piece += b"\n[pybuild: the log was cut here at %d bytes]\n" % self._written
        try:
            write_all(self._log_fd, piece)
        except OSError as problem:
            raise store_error(problem, self._log, "write a step's log") from problem

    def _take(self, stream: int, piece: bytes) -> None:
        if stream == 1 and self._capture and len(self._captured) < _CAPTURE_LIMIT:
            self._captured += piece
        mask = self._masks.get(stream)
        self._show(stream, mask.feed(piece) if mask is not None else piece)

    def _show(self, stream: int, piece: bytes) -> None:
        if not piece:
            return
        self._write_log(piece)
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
        if stream in self._masks:
            self._show(stream, self._masks[stream].end())
        if self._partial[stream]:
            self._say(stream, self._partial[stream])
            self._partial[stream] = bytearray()

    def _say(self, stream: int, line: bytes | bytearray) -> None:
        text = line.decode("utf-8", "replace").removesuffix("\r")
        self.tail.append(text)
        del self.tail[:-50]
        self._line(stream, text)


def _held(pipe: int) -> bytes:
    """What a pipe holds at this moment, without a wait for more."""
    import fcntl
    from termios import FIONREAD

    size = int.from_bytes(fcntl.ioctl(pipe, FIONREAD, bytes(4)), sys.byteorder)
    return os.read(pipe, size) if size else b""
