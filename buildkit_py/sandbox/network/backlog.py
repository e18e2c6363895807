"""The backlog of a network namespace: packets that wait there until the hardware address of a neighbour is known.

Asked for at the end of a sandbox that was in a hurry, whose starter needs
nothing else of `netlink`: to load that takes longer than to ask.
"""

from __future__ import annotations

import _socket
import os
from sys import byteorder

_GETNEIGH, _DONE, _ERROR = 30, 3, 2
_REQUEST_DUMP = 0x301
_INCOMPLETE_OR_FAILED = 0x21  # NUD_INCOMPLETE, NUD_FAILED
_ADDRESS = 1  # NDA_DST
_HEADER, _NEIGHBOUR, _STATE = 16, 12, 8  # sizes of struct nlmsghdr and struct ndmsg, and where the latter has its state
_LARGEST = 1 << 16


def waits_for(kernel: int, addresses: tuple[bytes, ...]) -> bool:
    """Whether packets wait in a namespace for one of these neighbours (4 or 16 bytes each).

    `kernel` is the descriptor of a routing socket (rtnetlink(7)) that was made in it. Raises `OSError`.
    """
    sock = _socket.socket(fileno=os.dup(kernel))
    try:
        request = (_number(_HEADER + _NEIGHBOUR, 4), _number(_GETNEIGH, 2), _number(_REQUEST_DUMP, 2), bytes(8))
        sock.send(b"".join(request) + bytes(_NEIGHBOUR))
        while True:
            data = sock.recv(_LARGEST)
            at = 0
            while at + _HEADER <= len(data):
                length, kind = _read(data, at, 4), _read(data, at + 4, 2)
                body = data[at + _HEADER : at + length]
                if kind == _DONE:
                    return False
                if kind == _ERROR:
                    errno = -int.from_bytes(body[:4], byteorder, signed=True)
                    raise OSError(errno, os.strerror(errno))
                if _read(body, _STATE, 2) & _INCOMPLETE_OR_FAILED and _address(body) in addresses:
                    return True
                at += length + -length % 4
    finally:
        sock.close()


def _address(neighbour: bytes) -> bytes:
    at = _NEIGHBOUR
    while at + 4 <= len(neighbour):
        length = _read(neighbour, at, 2)
        if _read(neighbour, at + 2, 2) == _ADDRESS:
            return neighbour[at + 4 : at + length]
        at += max(length, 4) + -length % 4
    return b""


def _number(value: int, size: int) -> bytes:
    return value.to_bytes(size, byteorder)


def _read(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], byteorder)
