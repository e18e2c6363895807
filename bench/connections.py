"""Many connections to one HTTP server, all of them open at once, and each of them served."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_REQUEST = b"GET /index.html HTTP/1.1\r\nHost: bench\r\n\r\n"
_PATIENCE = 60
# Descriptors that are none of a connection's.
_OTHERS = 100


class Connections:
    """Open connections to `port` of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socks: list[socket.socket] = []

    def open(self, count: int) -> None:
        """That many more. Raises `OSError`."""
        for _ in range(count):
            self._socks.append(socket.create_connection(("127.0.0.1", self._port), _PATIENCE))

    def served(self, page: bytes) -> int:
        """How many of them get the page now: all are asked before the first answer is read."""
        for sock in self._socks:
            with suppress(OSError):  # it has been closed: then nothing comes of it
                sock.sendall(_REQUEST)
        return sum(_answer(sock) == page for sock in self._socks)

    def close(self) -> None:
        """Close all of them."""
        while self._socks:
            self._socks.pop().close()


@contextmanager
def connections(port: int, count: int) -> Iterator[Connections]:
    """That many connections, open meanwhile. Raises `RuntimeError` where this process may not have so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + _OTHERS:
        raise RuntimeError(f"{count} connections are more than this process may have open (ulimit -Hn: {hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + _OTHERS), hard))
    held = Connections(port)
    try:
        held.open(count)
        yield held
    finally:
        held.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _answer(sock: socket.socket) -> bytes:
    """The body of an answer with a Content-Length; b"" where the connection is closed or nothing comes."""
    data = b""
    try:
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if end:
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                if len(body) >= length:
                    return body
            piece = sock.recv(1 << 16)
            if not piece:
                return b""
            data += piece
    except OSError:
        return b""
