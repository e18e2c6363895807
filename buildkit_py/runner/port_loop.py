"""The port loop: connections and datagrams passed on between the published ports of a container and the container.

One thread, one epoll. What a side does not take is held for it, and nothing
more is read for it meanwhile: a slow reader slows who writes to it, and
nobody else.

Two loops may have the same ports. Whichever the kernel wakes takes what is
there, and mostly that is all of it; so each hands every second connection to
the other one.
"""

from __future__ import annotations

import _socket
import os
import select
import time

from buildkit_py.runner import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.runner.published import Bound

_PIECE = 1 << 16
_IN, _OUT, _GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR | select.EPOLLHUP
# Taken in one go, so that the other process gets some, too.
_AT_ONCE = 8
# The interpreter keeps the tuples of the greatest answer of epoll for later, and with them all memory among which they
# lie: where these are few, the memory of many connections is given back when they have ended.
_EVENTS = 64
# As docker's proxy: how long a client of UDP is known after it was heard last, and how often that is looked at.
_FORGET, _LOOK = 90.0, 15.0
# Descriptors that are none of a connection's.
_OTHERS = 64


class _Side:
    """One side of a connection; `held` is what it does not take yet, `ended` that it sends no more.

    `mask` is what the poll is asked for of it, -1 where it is not asked at all.
    """

    __slots__ = ("connects", "ended", "held", "mask", "other", "sock")
    other: _Side

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.held = b""
        self.ended = False
        self.connects = False
        self.mask = 0


class _Client:
    """Who sends datagrams to a port, with the socket that goes on to the container."""

    __slots__ = ("address", "heard", "port", "sock")

    def __init__(self, sock: _socket.socket, port: _socket.socket, address: tuple[object, ...]) -> None:
        self.sock = sock
        self.port = port
        self.address = address
        self.heard = time.monotonic()


class PortLoop:
    """For the ports of a container whose address is `address`; `limit` descriptors may be open at once.

    `other`: a socket of whole messages to the loop that has the same ports.
    """

    def __init__(self, ports: list[Bound], address: str, limit: int, other: _socket.socket | None = None) -> None:
        self._address = address
        self._other = other
        self._hands_over = False
        self._limit = limit - _OTHERS
        self._poll = select.epoll()
        self._sides: dict[int, _Side] = {}
        self._clients: dict[tuple[int, tuple[object, ...]], _Client] = {}
        self._answers: dict[int, _Client] = {}
        self._listening = {port.socket.fileno(): port for port in ports if port.wanted.protocol == "tcp"}
        self._datagrams = {port.socket.fileno(): port for port in ports if port.wanted.protocol == "udp"}
        self._full = False
        self._closing: list[_socket.socket] = []
        self._buffer = bytearray(_PIECE)
        self._view = memoryview(self._buffer)
        self._listen()
        for fd in self._datagrams:
            self._poll.register(fd, _IN)

    def run(self) -> NoReturn:
        """Until this process is killed."""
        sides, look = self._sides, time.monotonic() + _LOOK
        while True:
            for fd, events in self._poll.poll(_LOOK if self._clients else None, _EVENTS):
                side = sides.get(fd)
                if side is not None:
                    self._pass_on(side, events)
                elif fd in self._listening:
                    self._accept(self._listening[fd])
                elif fd in self._datagrams:
                    self._receive(self._datagrams[fd])
                elif fd in self._answers:
                    self._answer(self._answers[fd])
                elif self._other is not None and fd == self._other.fileno():
                    self._take(self._other, events)
            for sock in self._closing:
                # Only now: its number would come again, and what the poll said of it be taken for the next one's.
                sock.close()
            self._closing.clear()
            if self._clients and time.monotonic() >= look:
                self._expire()
                look = time.monotonic() + _LOOK

    # -- TCP

    def _listen(self) -> None:
        for fd in self._listening:
            # Not every process is woken for each connection.
            self._poll.register(fd, _IN | select.EPOLLEXCLUSIVE)
        if self._other is not None:
            self._poll.register(self._other.fileno(), _IN)

    def _has_room(self) -> bool:
        """For one more connection; where there is none, nothing more is listened to until one ends."""
        if len(self._sides) + len(self._clients) + 2 <= self._limit:
            return True
        self._full = True
        for fd in self._listening:
            self._poll.unregister(fd)
        if self._other is not None:
            self._poll.unregister(self._other.fileno())
        return False

    def _hear_again(self) -> None:
        """There is room for one more, as a connection or a client of UDP has gone."""
        if self._full:
            self._full = False
            self._listen()

    def _accept(self, port: Bound) -> None:
        for _ in range(_AT_ONCE):
            if self._full or not self._has_room():
                return
            try:
                fd, _ = port.socket._accept()  # type: ignore[attr-defined]  # the C half of `accept`
            except OSError:
                return
            if self._other is not None:
                self._hands_over = not self._hands_over
                if self._hands_over and self._hand_over(self._other, fd, port.wanted.container_port):
                    continue
            self._connect(_socket.socket(fileno=fd), port.wanted.container_port)

    def _hand_over(self, other: _socket.socket, fd: int, port: int) -> bool:
        try:
            control.send(other, port, fd=fd)
        except OSError:  # it does not take more now, or there is none any more
            return False
        os.close(fd)
        return True

    def _take(self, other: _socket.socket, events: int) -> None:
        for _ in range(_AT_ONCE):
            if self._full or not self._has_room():
                return
            message, fd = control.receive_with(other)
            if fd < 0:
                if events & _GONE:
                    self._poll.unregister(other.fileno())
                    self._closing.append(other)
                    self._other = None
                return
            self._connect(_socket.socket(fileno=fd), message[0])

    def _connect(self, client: _socket.socket, port: int) -> None:
        server = None
        try:
            server = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            near, far = _Side(client), _Side(server)
            near.other, far.other = far, near
            for sock in (client, server):
                sock.setblocking(False)
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
            try:
                server.connect((self._address, port))
            except BlockingIOError:
                far.connects = True
        except OSError:  # nobody listens there, yet
            client.close()
            if server is not None:
                server.close()
            return
        for side in (near, far):
            self._sides[side.sock.fileno()] = side
            side.mask = _OUT if side.connects else 0 if side.other.connects else _IN
            self._poll.register(side.sock.fileno(), side.mask)

    def _pass_on(self, side: _Side, events: int) -> None:
        other = side.other
        try:
            if side.connects:
                self._connected(side)
                return
            if events & _OUT and side.held:
                side.held = side.held[side.sock.send(side.held) :]
            if events & (_IN | _GONE) and not side.ended and not other.held:
                count = side.sock.recv_into(self._buffer)
                if count:
                    sent = self._send(other, self._view[:count])
                    if sent == count and not side.held:
                        return  # mostly: nothing else is to be watched than before
                    other.held = bytes(self._view[sent:count])
                else:
                    side.ended = True
                    other.sock.shutdown(_socket.SHUT_WR)
            elif events & _GONE:
                if side.ended:  # and the other one has taken all of it: else its end would not have been read
                    self._end(side)
                    return
                self._leave(side)
                self._watch(other)
                return
        except BlockingIOError:
            pass
        except OSError:
            self._end(side)
            return
        if side.ended and other.ended and not side.held and not other.held:
            self._end(side)
            return
        self._watch(side)
        self._watch(other)

    def _send(self, side: _Side, data: memoryview) -> int:
        try:
            return side.sock.send(data)
        except BlockingIOError:
            return 0

    def _connected(self, side: _Side) -> None:
        """What came of a connection that was begun. Raises `OSError`."""
        number = side.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if number:
            raise OSError(number, "")
        side.connects = False
        self._watch(side)
        self._watch(side.other)

    def _watch(self, side: _Side) -> None:
        wanted = (_OUT if side.held else 0) | (_IN if not side.ended and not side.other.held else 0)
        if side.mask < 0:
            if wanted:
                side.mask = wanted
                self._poll.register(side.sock.fileno(), wanted)
        elif wanted != side.mask:
            side.mask = wanted
            self._poll.modify(side.sock.fileno(), wanted)

    def _leave(self, side: _Side) -> None:
        """It is gone, and the other one has yet to take what it sent: until then the poll is not asked, which would say
        so without end. What the kernel still has of it is read after that, also of one that was reset.
        """
        side.mask = -1
        self._poll.unregister(side.sock.fileno())

    def _end(self, side: _Side) -> None:
        for one in (side, side.other):
            del self._sides[one.sock.fileno()]
            self._closing.append(one.sock)
            del one.other  # or the two would hold each other until all garbage is looked for
        if not self._sides:
            self._sides.clear()  # a table of so many as there ever were
        self._hear_again()

    # -- UDP

    def _receive(self, port: Bound) -> None:
        try:
            count, sender = port.socket.recvfrom_into(self._buffer)
        except OSError:
            return
        key = (port.socket.fileno(), sender)
        client = self._clients.get(key)
        if client is None:
            client = self._meet(port, sender)
            if client is None:
                return
            self._clients[key] = client
            self._answers[client.sock.fileno()] = client
        client.heard = time.monotonic()
        try:
            client.sock.send(self._view[:count])
        except OSError:
            pass  # nobody listens there, yet; datagrams may be lost

    def _meet(self, port: Bound, sender: tuple[object, ...]) -> _Client | None:
        if len(self._sides) + len(self._clients) + 2 > self._limit:
            return None
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            sock.connect((self._address, port.wanted.container_port))
        except OSError:
            sock.close()
            return None
        self._poll.register(sock.fileno(), _IN)
        return _Client(sock, port.socket, sender)

    def _answer(self, client: _Client) -> None:
        try:
            count = client.sock.recv_into(self._buffer)
            client.heard = time.monotonic()
            client.port.sendto(self._view[:count], client.address)
        except OSError:
            pass  # nobody listens there, or who asked is gone

    def _expire(self) -> None:
        since = time.monotonic() - _FORGET
        for key, client in list(self._clients.items()):
            if client.heard < since:
                del self._clients[key], self._answers[client.sock.fileno()]
                client.sock.close()
                self._hear_again()
