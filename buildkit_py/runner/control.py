"""The control socket of a container: what others ask of its supervisor, and how it answers.

A socket of whole messages (SOCK_SEQPACKET) in the container's directory, which is private to its user. A message is a
tuple of plain values as `marshal` writes it: `("kill", signal)`, `("stop", signal, seconds)`, `("wait",)`, `("join",)`,
`("health",)`.
Each is answered at once with `("ok",)`, with which whoever joins gets the pidfd of the container's first process, if
there is one; whoever waits or stops then gets `("ended", code)`. Whoever asks for its health gets `("health", status)`
instead, again whenever that is another one, and the end.
"""

from __future__ import annotations

import _socket
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

LARGEST = 1 << 14
_KIND = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC


class Socket(_socket.socket):
    """A connection, which a `with` closes. (`socket.socket` would, and imports enum.)"""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def listen(directory: str) -> _socket.socket:
    """The supervisor's end. Raises `OSError`."""
    server = _socket.socket(_socket.AF_UNIX, _KIND | _socket.SOCK_NONBLOCK)
    with _Short(directory) as path:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        server.bind(path)
    server.listen(16)
    return server


def connect(directory: str) -> Socket | None:
    """A connection to the supervisor; None where none listens."""
    client = Socket(_socket.AF_UNIX, _KIND)
    try:
        with _Short(directory) as path:
            client.connect(path)
    except OSError:
        client.close()
        return None
    return client


def send(to: _socket.socket, *message: Any, fd: int = -1) -> None:
    """One message, and a descriptor with it. Raises `OSError`."""
    data = marshal.dumps(message)
    if fd < 0:
        to.send(data)
    else:
        to.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))])


def receive(of: _socket.socket) -> tuple[Any, ...]:
    """The next message, `()` at the end of the connection."""
    try:
        data = of.recv(LARGEST)
        message = marshal.loads(data) if data else ()
    except (OSError, ValueError, EOFError, TypeError):
        return ()
    return message if isinstance(message, tuple) else ()


def receive_with(of: _socket.socket) -> tuple[tuple[Any, ...], int]:
    """The next message and the descriptor that comes with it, as `receive`; -1 where none does."""
    try:
        data, ancillary, _, _ = of.recvmsg(LARGEST, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        fd = int.from_bytes(ancillary[0][2], sys.byteorder) if ancillary else -1
        message = marshal.loads(data) if data else ()
    except (OSError, ValueError, EOFError, TypeError):
        return (), -1
    return (message if isinstance(message, tuple) else ()), fd


def receive_descriptor(of: _socket.socket) -> int:
    """The descriptor that comes with the next message; -1 where none does."""
    try:
        _, ancillary, _, _ = of.recvmsg(LARGEST, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return -1
    return int.from_bytes(ancillary[0][2], sys.byteorder) if ancillary else -1


class _Short:
    """The socket's path, short enough for an address (unix(7): 108 bytes), however deep the store lies."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def __enter__(self) -> str:
        self._fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/control"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
