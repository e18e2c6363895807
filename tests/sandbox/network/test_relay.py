"""The relay of names, with servers of this machine's that answer, do not, or are not there."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable

from buildkit_py.sandbox.network import relay
from tests.sandbox.network.inside import inside

ASKED = "127.0.0.9"
"""Where the relay listens; its servers are other addresses of the loopback."""


def _server(address: str, answer: Callable[[bytes], bytes | None]) -> None:
    """A name server for UDP and TCP; what `answer` makes of a question is its answer, None for none."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, 53))
    streams = socket.socket()
    streams.bind((address, 53))
    streams.listen()

    def serve() -> None:
        while True:
            for sock in select.select([datagrams, streams], [], [])[0]:
                if sock is datagrams:
                    data, peer = datagrams.recvfrom(65535)
                    said = answer(data)
                    if said is not None:
                        datagrams.sendto(said, peer)
                else:
                    connection, _ = streams.accept()
                    said = answer(_exactly(connection, int.from_bytes(_exactly(connection, 2), "big")))
                    if said is not None:
                        connection.sendall(len(said).to_bytes(2, "big") + said)
                    connection.close()

    threading.Thread(target=serve, daemon=True).start()


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            break
        data += piece
    return data


def _relay(*servers: str) -> None:
    """A relay in a thread, for the life of the process."""
    os.system("ip link set lo up")
    datagrams, connections = [sock.detach() for sock in relay.listen(ASKED)]
    poll = select.poll()
    one = relay.Relay(datagrams, connections, servers, poll)

    def serve() -> None:
        while True:
            for fd, events in poll.poll(50):
                if one.owns(fd):  # it may have let go of it a moment ago
                    one.ready(fd, events)
            one.expire()

    threading.Thread(target=serve, daemon=True).start()


def _ask(question: bytes, timeout: float = 10) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.sendto(question, (ASKED, 53))
        return sock.recv(65535)


def _ask_by_tcp(question: bytes) -> bytes:
    with socket.create_connection((ASKED, 53), 10) as sock:
        sock.sendall(len(question).to_bytes(2, "big") + question)
        return _exactly(sock, int.from_bytes(_exactly(sock, 2), "big"))


def _named(name: bytes) -> Callable[[bytes], bytes]:
    return lambda question: name + b":" + question


def test_questions_and_answers_pass() -> None:
    def look() -> tuple[bytes, bytes, bytes]:
        _relay("127.0.0.53")
        _server("127.0.0.53", _named(b"one"))
        return _ask(b"a"), _ask_by_tcp(b"b"), _ask_by_tcp(b"c" * 60_000)[-10:]

    assert inside(look) == (b"one:a", b"one:b", b"c" * 10)


def test_the_next_server_is_asked_where_nobody_listens() -> None:
    def look() -> tuple[bytes, bytes]:
        _relay("127.0.0.52", "203.0.113.9", "127.0.0.53")
        _server("127.0.0.53", _named(b"two"))
        return _ask(b"a"), _ask(b"b")

    assert inside(look) == (b"two:a", b"two:b")


def test_the_next_server_is_asked_where_one_is_silent() -> None:
    def look() -> bytes:
        _relay("127.0.0.52", "127.0.0.53")
        _server("127.0.0.52", lambda question: None)
        _server("127.0.0.53", _named(b"two"))
        return _ask(b"a")

    assert inside(look) == b"two:a"


def test_many_ask_at_once() -> None:
    def look() -> int:
        _relay("127.0.0.53")
        _server("127.0.0.53", _named(b""))
        sockets = []
        for number in range(100):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.settimeout(10)
            sock.sendto(b"%d" % number, (ASKED, 53))
            sockets.append(sock)
        return sum(sock.recv(100) == b":%d" % number for number, sock in enumerate(sockets))

    assert inside(look) == 100


def test_one_who_asks_and_goes_harms_nobody() -> None:
    def look() -> bytes:
        _relay("127.0.0.53")
        _server("127.0.0.53", _named(b"one"))
        for _ in range(20):
            socket.create_connection((ASKED, 53), 10).close()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", (ASKED, 53))
        return _ask(b"a") + _ask_by_tcp(b"b")

    assert inside(look) == b"one:aone:b"


def test_it_listens_before_it_has_its_address() -> None:
    """So nobody who reaches that is refused."""

    def look() -> bool:
        os.system("ip link set lo up")
        _, connections = relay.listen("203.0.113.9")
        assert os.system("ip addr add 203.0.113.9/32 dev lo") == 0
        with socket.create_connection(("203.0.113.9", 53), timeout=30):
            socket.socket(fileno=connections.detach()).accept()[0].close()
        return True

    assert inside(look)
