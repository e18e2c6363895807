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


class _TimedReader(io.RawIOBase):
    """A socket's bytes with a limit on the whole header and on the least speed of the body."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.deadline = time.monotonic() + HEADER_SECONDS
        self.in_body = False
        self.progress = 0

    def readable(self) -> bool:
        return True

    def start_body(self) -> None:
        self.in_body = True
        self.deadline = time.monotonic() + IDLE_SECONDS
        self.sock.settimeout(IDLE_SECONDS)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        now = time.monotonic()
        if now >= self.deadline:
            if not self.in_body or self.progress < LEAST_PROGRESS:
                raise TimeoutError("too slow")
            self.deadline, self.progress = now + IDLE_SECONDS, 0
        if not self.in_body:
            self.sock.settimeout(min(self.deadline - now, IDLE_SECONDS))
        count = self.sock.recv_into(buffer)
        self.progress += count
        return count


class _TimedSocket:
    """What `http.client` wants of a socket when it makes a response: `makefile` and nothing more."""

    def __init__(self, sock: socket.socket) -> None:
        self.raw = _TimedReader(sock)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.raw, 1 << 16)


class TimedResponse(http.client.HTTPResponse):
    """An `http.client` response over a `_TimedReader`; call `start_body` once the headers are there."""

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None):
        timed = _TimedSocket(sock)
        self.timed = timed.raw
        super().__init__(timed, debuglevel, method, url)  # type: ignore[arg-type]

    def start_body(self) -> None:
        """From now on the limits of a body hold."""
        self.timed.start_body()
