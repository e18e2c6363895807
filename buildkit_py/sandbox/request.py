"""A request to the fork server for one sandbox: a message of descriptors, as both of its readers take it apart.

They are the channel to report on, the marshalled spec (a memfd), and standard
input, output and error; input may be left out. The text of the message says
whether the spec is `usual`, and whether its network is the isolated one. A
third kind of message, without descriptors, asks to prepare sandboxes for
usual specs, a fourth, with a marshalled plan (a memfd), to get the isolated
network ready, and a fifth says that it will not be wanted again soon. A sixth asks for
a command in a sandbox that runs: the pidfd of that comes before the rest.
"""

from __future__ import annotations

import _socket
import marshal
import os
import sys

from buildkit_py.sandbox.spec import SandboxSpec

USUAL, UNUSUAL, PREPARE, CONNECT, REST = b"usual", b"unusual", b"prepare", b"connect", b"rest"
JOIN = b"join"
ISOLATED = b", isolated"
"""What follows the text of a message that is about a sandbox on the isolated network; then may follow:"""
AT = b" at "
"""and the number that its addresses are of; or how many sandboxes are to be prepared."""

_MOST_DESCRIPTORS = 8


class Stdio:
    """The descriptors that become standard input, output and error; input -1 is /dev/null."""

    __slots__ = ("err", "inp", "out")

    def __init__(self, inp: int, out: int, err: int) -> None:
        self.inp = inp
        self.out = out
        self.err = err


class Request:
    """The descriptors of a request, which are this process's own."""

    __slots__ = ("_spec", "channel", "stdio")

    def __init__(self, descriptors: list[int]) -> None:
        self.channel, self._spec, *stdio = descriptors
        inp, out, err = stdio if len(stdio) == 3 else (-1, *stdio)
        self.stdio = Stdio(inp, out, err)

    def spec(self) -> SandboxSpec:
        """What is asked for."""
        return SandboxSpec.from_wire(marshal.loads(read_all(self._spec)))

    def pass_on(self, sock: _socket.socket) -> None:
        """Send it to who waits on the other end. Raises `OSError`."""
        stdio = [self.stdio.inp] if self.stdio.inp >= 0 else []
        send(sock, USUAL, [self.channel, self._spec, *stdio, self.stdio.out, self.stdio.err])

    def close(self) -> None:
        """Let go of all but the channel."""
        for fd in (self._spec, self.stdio.inp, self.stdio.out, self.stdio.err):
            if fd >= 0:
                os.close(fd)


def in_memory(data: bytes) -> int:
    """A memfd that holds this. Raises `OSError`."""
    memory = os.memfd_create("request", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(memory, view) :]
    return memory


def read_all(memory: int) -> bytes:
    """What a memfd holds."""
    return os.pread(memory, os.fstat(memory).st_size, 0)


def send(sock: _socket.socket, data: bytes, descriptors: list[int]) -> None:
    """Send copies of descriptors along with a few bytes. Raises `OSError`."""
    rights = b"".join([fd.to_bytes(4, sys.byteorder) for fd in descriptors])
    sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def receive(sock: _socket.socket) -> tuple[bytes, list[int]]:
    """The next message and its descriptors; b"" where the other end is closed."""
    try:
        data, ancillary, _, _ = sock.recvmsg(64, _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS), _socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return b"", []
    return data, [
        int.from_bytes(payload[i : i + 4], sys.byteorder)
        for _, _, payload in ancillary
        for i in range(0, len(payload) - 3, 4)
    ]
