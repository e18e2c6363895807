"""The relay of names: what sandboxes ask the hub's address goes to name servers that only this machine reaches.

Those of 127.0.0.53 and the like (systemd-resolved, dnsmasq) listen where no
other network namespace gets. Questions and answers are passed on as they are
(RFC 1035, section 4.2: by UDP, or by TCP with its length before each); what a
server does not answer, the next is asked.
"""

from __future__ import annotations

import _socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

_PORT = 53
_IP_FREEBIND = 15  # ip(7)
_LARGEST = 65535
_PATIENCE = 2.0  # seconds until the next server is asked; a resolver asks again after five (resolv.conf(5))
_MOST = 512  # questions and connections under way; beyond them, the oldest are dropped
_IN, _OUT, _GONE = 1, 4, 8 | 16  # poll(2)


def listen(address: str) -> list[_socket.socket]:
    """The two sockets, for UDP and for TCP, in the network namespace that the process is in, which may get the address
    later. Raises `OSError`.
    """
    datagrams = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    connections = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    for sock in (datagrams, connections):
        sock.setsockopt(_socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.bind((address, _PORT))
    connections.listen(64)
    return [datagrams, connections]


class Relay:
    """`datagrams` and `connections` are sockets of the hub's (`listen`); `servers` are addresses of name servers as
    /etc/resolv.conf has them, to be asked from where the process is.

    Descriptors are watched by `poll`; for one of `owns` that is ready, `ready` is to be called, and `expire` now and
    then.
    """

    def __init__(self, datagrams: int, connections: int, servers: tuple[str, ...], poll: select.poll) -> None:
        self._servers = servers
        self._poll = poll
        self._questions: dict[int, _Question] = {}
        self._streams: dict[int, _Stream] = {}
        self._datagrams = _socket.socket(fileno=datagrams)
        self._connections = _socket.socket(fileno=connections)
        for sock in (self._datagrams, self._connections):
            sock.setblocking(False)
            poll.register(sock.fileno(), _IN)

    def owns(self, fd: int) -> bool:
        """Whether a descriptor is one of the relay's."""
        listening = fd in (self._datagrams.fileno(), self._connections.fileno())
        return listening or fd in self._questions or fd in self._streams

    def ready(self, fd: int, events: int) -> None:
        """Do what there is to do for a descriptor."""
        if fd == self._datagrams.fileno():
            self._ask()
        elif fd == self._connections.fileno():
            self._accept()
        elif fd in self._questions:
            self._answer(self._questions[fd])
        else:
            self._pass_on(self._streams[fd], fd, events)

    def expire(self) -> None:
        """Ask the next server what the last did not answer in time."""
        now = time.monotonic()
        for question in [item for item in self._questions.values() if item.until <= now]:
            self._next(question)

    @property
    def busy(self) -> bool:
        """Whether a question is under way, so that `expire` has to be called in time."""
        return bool(self._questions)

    # -- UDP

    def _ask(self) -> None:
        try:
            data, asker = self._datagrams.recvfrom(_LARGEST)
        except OSError:
            return
        if len(self._questions) >= _MOST:
            self._drop(next(iter(self._questions.values())))
        self._next(_Question(data, asker))

    def _next(self, question: _Question) -> None:
        """Send a question to the next server that can be sent to; forget it after the last."""
        self._drop(question)
        while question.asked < len(self._servers):
            server = self._servers[question.asked]
            question.asked += 1
            sock = self._open(server, _socket.SOCK_DGRAM)
            if sock is None:
                continue
            try:
                sock.send(question.data)
            except OSError:
                sock.close()
                continue
            question.sock, question.until = sock, time.monotonic() + _PATIENCE
            self._questions[sock.fileno()] = question
            self._poll.register(sock.fileno(), _IN)
            return

    def _answer(self, question: _Question) -> None:
        assert question.sock is not None
        try:
            data = question.sock.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._next(question)
            return
        self._drop(question)
        try:
            self._datagrams.sendto(data, question.asker)
        except OSError:
            pass  # who asked is gone

    def _drop(self, question: _Question) -> None:
        sock, question.sock = question.sock, None
        if sock is not None:
            del self._questions[sock.fileno()]
            self._poll.unregister(sock.fileno())
            sock.close()

    # -- TCP

    def _accept(self) -> None:
        try:
            fd, _ = self._connections._accept()  # type: ignore[attr-defined]  # the C half of `accept`
        except OSError:
            return
        asker = _socket.socket(fileno=fd)
        asker.setblocking(False)
        for server in self._servers:
            sock = self._open(server, _socket.SOCK_STREAM)
            if sock is not None:
                break
        else:
            asker.close()
            return
        if len(self._streams) >= 2 * _MOST:
            self._end(next(iter(self._streams.values())))
        stream = _Stream(asker, sock)
        for one in (asker, sock):
            self._streams[one.fileno()] = stream
            self._poll.register(one.fileno(), _IN)

    def _pass_on(self, stream: _Stream, fd: int, events: int) -> None:
        """Read from one side what the other has room for. A side that is slow stops the reading of the other."""
        source = 0 if stream.sides[0].fileno() == fd else 1
        try:
            if events & (_IN | _GONE) and not stream.held[1 - source]:
                data = stream.sides[source].recv(_LARGEST)
                if not data:
                    self._end(stream)
                    return
                stream.held[1 - source] = data
            for side in (0, 1):
                if stream.held[side]:
                    try:
                        stream.held[side] = stream.held[side][stream.sides[side].send(stream.held[side]) :]
                    except BlockingIOError:
                        pass
        except BlockingIOError:
            pass
        except OSError:
            self._end(stream)
            return
        for side in (0, 1):
            wanted = (_OUT if stream.held[side] else 0) | (0 if stream.held[1 - side] else _IN)
            self._poll.modify(stream.sides[side].fileno(), wanted)

    def _end(self, stream: _Stream) -> None:
        for side in stream.sides:
            del self._streams[side.fileno()]
            self._poll.unregister(side.fileno())
            side.close()

    def _open(self, server: str, kind: int) -> _socket.socket | None:
        """A socket of this machine's network, connected to a server; None where there is no way to it."""
        address, _, scope = server.partition("%")
        family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
        sock = None
        try:
            sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
            sock.setblocking(False)
            if family == _socket.AF_INET:
                sock.connect((address, _PORT))
            else:
                index = _socket.if_nametoindex(scope) if scope and not scope.isdigit() else int(scope or 0)
                sock.connect((address, _PORT, 0, index))
        except BlockingIOError:
            pass  # it connects
        except OSError:
            if sock is not None:
                sock.close()
            sock = None
        return sock


class _Question:
    """One that came by UDP from `asker`; `asked` servers were asked, the last by `sock`, which waits until `until`."""

    __slots__ = ("asked", "asker", "data", "sock", "until")

    def __init__(self, data: bytes, asker: tuple[str, int]) -> None:
        self.data = data
        self.asker = asker
        self.asked = 0
        self.sock: _socket.socket | None = None
        self.until = 0.0


class _Stream:
    """A connection and the one to a server, with what is `held` for each because it does not take it yet."""

    __slots__ = ("held", "sides")

    def __init__(self, asker: _socket.socket, server: _socket.socket) -> None:
        self.sides = (asker, server)
        self.held = [b"", b""]
