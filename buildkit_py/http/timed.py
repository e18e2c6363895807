"""Responses read under time limits that a slow peer cannot stretch byte by byte.

A socket's own timeout begins anew with each byte. Here the whole header has
one limit, and a body must bring a least number of bytes in every period.
"""

from __future__ import annotations

import http.client
import io
import socket
import time

IDLE_SECONDS = 60.0
HEADER_SECONDS = 60.0
# A body that brings less than this in every IDLE_SECONDS is given up.
LEAST_PROGRESS = 16 << 10


class TimedReader(io.RawIOBase):
    """A socket's bytes with a limit on the whole header and on the least speed of the body."""

    def __init__(
        self, sock: socket.socket, *, header_seconds: float = HEADER_SECONDS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._sock = sock
        # Unbuffered, it holds the socket open until we are closed, as `http.client` expects of a socket's file.
        self._file = sock.makefile("rb", buffering=0)
        self._idle = idle_seconds
        self._deadline = time.monotonic() + header_seconds
        self._in_body = False
        self._progress = 0

    def readable(self) -> bool:
        return True

    def start_body(self) -> None:
        """From now on the limits of a body hold."""
        self._in_body = True
        self._deadline, self._progress = time.monotonic() + self._idle, 0
        self._sock.settimeout(self._idle)

    def interrupt(self) -> None:
        """End the connection, so that a thread that waits for its bytes wakes up; for another thread to call."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        now = time.monotonic()
        if now >= self._deadline:
            if not self._in_body or self._progress < LEAST_PROGRESS:
                raise TimeoutError("too slow")
            self._deadline, self._progress = now + self._idle, 0
        if not self._in_body:
            self._sock.settimeout(min(self._deadline - now, self._idle))
        count = self._file.readinto(buffer) or 0
        self._progress += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _TimedSocket:
    """What `http.client` wants of a socket when it makes a response: `makefile` and nothing more."""

    def __init__(self, sock: socket.socket) -> None:
        self.raw = TimedReader(sock)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.raw, 1 << 16)


class TimedResponse(http.client.HTTPResponse):
    """An `http.client` response over a `TimedReader`; call `start_body` once the headers are there."""

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None):
        timed = _TimedSocket(sock)
        self.timed = timed.raw
        super().__init__(timed, debuglevel, method, url)  # type: ignore[arg-type]

    def _read_status(self) -> tuple[str, int, str]:
        # `begin` passes over 100 alone; others come before the answer as well (RFC 9110, section 15.2), 101 excepted.
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)

    def start_body(self) -> None:
        """From now on the limits of a body hold."""
        self.timed.start_body()
