"""The port loop alone, before a server of the test: what is sent arrives, whole, in both directions, and ends."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from buildkit_py.runner import port_loop
from buildkit_py.runner.port_loop import PortLoop
from buildkit_py.runner.published import Bound, Published, bind

Serve = Callable[[socket.socket], None]

_CLOSED = 7  # TCP_CLOSE of the kernel's tcp_states.h, the first byte of TCP_INFO


def until_equal(look: Callable[[], object], wanted: object) -> None:
    for _ in range(600):
        if look() == wanted:
            return
        threading.Event().wait(0.05)
    assert look() == wanted


class Passed:
    """A port that one or two loops pass on to a server; `limit` are the descriptors that each of them may have.

    `beside` is what they pass on besides.
    """

    def __init__(
        self,
        serve: Serve | None,
        *,
        limit: int = 1000,
        protocol: str = "tcp",
        loops: int = 1,
        beside: tuple[Bound, ...] = (),
    ) -> None:
        self._beside = beside
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        self.server = socket.socket(socket.AF_INET, kind)
        self.server.bind(("127.0.0.1", 0))
        inner = self.server.getsockname()[1]
        if serve is None:
            self.server.close()
        elif protocol == "tcp":
            self.server.listen(1000)
            threading.Thread(target=self._accept, args=(serve,), daemon=True).start()
        else:
            threading.Thread(target=serve, args=(self.server,), daemon=True).start()
        (self.bound,) = bind((Published("127.0.0.1", (0, 0), inner, protocol),), lambda port, kind: "")
        ends = (
            socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) if loops == 2 else (None,)
        )
        before = self._polls(os.getpid())  # what an earlier test left is the loop's, too, before it has its own
        self.pids = [self._loop(end, [one for one in ends if one is not end], limit) for end in ends]
        self.pid = self.pids[0]
        for end in ends:
            if end is not None:
                end.close()
        self.port = self.bound.port
        for pid in self.pids:
            until_equal(lambda pid=pid: self._polls(pid), before + 1)
        self.at_rest = self.descriptors()

    def _loop(self, end: socket.socket | None, others: list[socket.socket | None], limit: int) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                for other in others:
                    if other is not None:
                        other.close()
                PortLoop([self.bound, *self._beside], "127.0.0.1", limit, end).run()
            finally:
                os._exit(1)
        return pid

    def _accept(self, serve: Serve) -> None:
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), 30)
        sock.settimeout(30)
        return sock

    def _polls(self, pid: int) -> int:
        return self.links(pid).count("anon_inode:[eventpoll]")

    def links(self, pid: int = 0) -> list[str]:
        found = []
        for entry in os.scandir(f"/proc/{pid or self.pid}/fd"):
            with suppress(FileNotFoundError):  # closed meanwhile
                found.append(os.readlink(entry.path))
        return found

    def descriptors(self, pid: int = 0) -> int:
        return len(os.listdir(f"/proc/{pid or self.pid}/fd"))

    def ticks(self, pid: int = 0) -> int:
        """Of processor time."""
        with open(f"/proc/{pid or self.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


@pytest.fixture
def passing() -> Iterator[Callable[..., Passed]]:
    made: list[Passed] = []

    def make(*args: object, **kwargs: object) -> Passed:
        made.append(Passed(*args, **kwargs))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        for pid in one.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        one.bound.socket.close()
        one.server.close()


def rests(passed: Passed) -> bool:
    """Whether the loop comes to use no processor time at all, while nobody does anything."""
    for _ in range(20):
        before = passed.ticks()
        threading.Event().wait(0.3)
        if passed.ticks() == before:
            return True
    return False


def fill(sock: socket.socket) -> int:
    """Send until nothing more is taken for a while; how many bytes were."""
    sock.settimeout(0.5)
    sent = 0
    try:
        while True:
            sent += sock.send(bytes(1 << 14))
    except TimeoutError:
        return sent


def unacknowledged(sock: socket.socket) -> int:
    """The bytes that the other end's kernel does not have yet (SIOCOUTQ, tcp(7))."""
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])


def unread(passed: Passed, sock: socket.socket) -> int:
    """The bytes of a client that the kernel has for the loop, by proc_pid_net(5): `rx_queue` of the loop's end."""
    ends = [f"0100007F:{port:04X}" for port in (passed.port, sock.getsockname()[1])]
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file]
    return next(int(row[4].partition(":")[2], 16) for row in rows if row[1:3] == ends)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Sleeper:
    """A server of one connection, which reads nothing until it is told to."""

    def __init__(self) -> None:
        self.connected = threading.Event()
        self.sock: socket.socket

    def __call__(self, sock: socket.socket) -> None:
        sock.settimeout(30)
        self.sock = sock
        self.connected.set()


def all_of(sock: socket.socket) -> bytes:
    out = []
    while piece := sock.recv(1 << 16):
        out.append(piece)
    return b"".join(out)


def echo(sock: socket.socket) -> None:
    with closing(sock):
        while piece := sock.recv(1 << 16):
            sock.sendall(piece)


def test_much_in_both_directions_at_once(passing: Callable[..., Passed]) -> None:
    passed = passing(echo)
    data = os.urandom(1 << 20) * 20
    with passed.connect() as sock:

        def send() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert all_of(sock) == data
        sender.join()


def test_one_side_may_end_before_the_other(passing: Callable[..., Passed]) -> None:
    """As `nc -N` and HTTP/1.0 clients have it: the request's end is the end of what the client sends."""

    def answer(sock: socket.socket) -> None:
        with closing(sock):
            sock.sendall(b"got %d" % len(all_of(sock)))

    with passing(answer).connect() as sock:
        sock.sendall(b"x" * 100_000)
        sock.shutdown(socket.SHUT_WR)
        assert all_of(sock) == b"got 100000"

    def say_first(sock: socket.socket) -> None:
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        heard.append(all_of(sock))
        sock.close()

    heard: list[bytes] = []
    with passing(say_first).connect() as sock:
        assert all_of(sock) == b"hello"
        sock.sendall(b"y" * 5_000_000)
    until_equal(lambda: [len(one) for one in heard], [5_000_000])


def test_a_slow_reader_holds_up_nobody_else(passing: Callable[..., Passed]) -> None:
    def pour(sock: socket.socket) -> None:
        with closing(sock):
            sock.sendall(b"z" * 30_000_000)

    passed = passing(lambda sock: pour(sock) if sock.recv(1) == b"p" else echo(sock))
    with passed.connect() as slow, passed.connect() as quick:
        slow.sendall(b"p")
        quick.sendall(b"e")
        threading.Event().wait(0.3)
        before = passed.ticks()
        for _ in range(50):
            quick.sendall(b"ping")
            assert quick.recv(4) == b"ping"
        threading.Event().wait(0.5)
        assert passed.ticks() - before < 30, "it does not spin on what nobody takes"
        assert len(all_of(slow)) == 30_000_000


def test_nobody_listens(passing: Callable[..., Passed]) -> None:
    passed = passing(None)
    for _ in range(20):
        with passed.connect() as sock:
            assert sock.recv(1) == b""
    until_equal(passed.descriptors, passed.at_rest)


def test_a_connection_that_is_reset(passing: Callable[..., Passed]) -> None:
    ended = threading.Event()

    def serve(sock: socket.socket) -> None:
        with closing(sock):
            try:
                all_of(sock)
            except ConnectionError:
                pass
            ended.set()

    passed = passing(serve)
    sock = passed.connect()
    sock.sendall(b"x")
    until_equal(passed.descriptors, passed.at_rest + 2)
    reset(sock)
    assert ended.wait(30)
    until_equal(passed.descriptors, passed.at_rest)


def test_a_connection_that_is_reset_before_all_is_taken(passing: Callable[..., Passed]) -> None:
    """Who is gone is no work, and what came of him is passed on all the same."""
    serve = Sleeper()
    passed = passing(serve)
    sock = passed.connect()
    sent = fill(sock) - unacknowledged(sock)
    reset(sock)
    assert serve.connected.wait(30)
    assert rests(passed)
    assert len(all_of(serve.sock)) >= sent
    serve.sock.close()
    until_equal(passed.descriptors, passed.at_rest)


def test_one_that_is_reset_before_all_is_taken_may_be_left(passing: Callable[..., Passed]) -> None:
    serve = Sleeper()
    passed = passing(serve)
    sock = passed.connect()
    fill(sock)
    reset(sock)
    assert serve.connected.wait(30)
    assert rests(passed)
    serve.sock.close()
    until_equal(passed.descriptors, passed.at_rest)


def test_both_have_ended_before_all_is_taken(passing: Callable[..., Passed]) -> None:
    """The server sends no more, the client has closed, and the kernel has the last of what it sent: nothing is lost."""
    serve = Sleeper()
    passed = passing(serve)
    sock = passed.connect()
    assert serve.connected.wait(30)
    serve.sock.shutdown(socket.SHUT_WR)
    assert sock.recv(1) == b""
    sent = 0
    while not unread(passed, sock) or not rests(passed) or not unread(passed, sock):
        sent += sock.send(bytes(1 << 14))
    sock.shutdown(socket.SHUT_WR)
    until_equal(lambda: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1), bytes([_CLOSED]))
    sock.close()
    assert rests(passed)
    assert len(all_of(serve.sock)) == sent
    serve.sock.close()
    until_equal(passed.descriptors, passed.at_rest)


def test_more_than_it_may_have_open_wait(passing: Callable[..., Passed]) -> None:
    """With 64 descriptors for other things, 36 are for connections: 18, until some of them end."""
    passed = passing(echo, limit=100)
    socks = [passed.connect() for _ in range(40)]
    for sock in socks[:18]:
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
    waits = socks[30]
    waits.sendall(b"b")
    waits.settimeout(0.5)
    with pytest.raises(TimeoutError):
        waits.recv(1)
    for sock in socks[:30]:
        sock.close()
    waits.settimeout(30)
    assert waits.recv(1) == b"b"
    for sock in socks:
        sock.close()


def test_many_connections_leave_nothing(passing: Callable[..., Passed]) -> None:
    passed = passing(echo)
    for _ in range(20):
        socks = [passed.connect() for _ in range(100)]
        for number, sock in enumerate(socks):
            sock.sendall(b"%03d" % number)
        for number, sock in enumerate(socks):
            assert sock.recv(3) == b"%03d" % number
            sock.close()
    until_equal(passed.descriptors, passed.at_rest)


def test_two_loops_have_half_of_the_connections_each(passing: Callable[..., Passed]) -> None:
    passed = passing(echo, loops=2)
    first, second = passed.pids
    socks = [passed.connect() for _ in range(20)]
    for sock in socks:
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
    assert [passed.descriptors(pid) - passed.at_rest for pid in passed.pids] == [20, 20]
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    until_equal(lambda: sum(served(sock) for sock in socks), 10)
    before = passed.ticks(second)
    more = [passed.connect() for _ in range(10)]
    assert sum(served(sock) for sock in more) == 10, "one that is alone takes all"
    threading.Event().wait(0.5)
    assert passed.ticks(second) - before < 30, "it does not spin on the end of the other one"
    for sock in (*socks, *more):
        sock.close()
    until_equal(lambda: passed.descriptors(second), passed.at_rest - 1)


def test_what_the_other_loop_has_no_room_for_one_keeps(passing: Callable[..., Passed]) -> None:
    """Both have 36 descriptors for connections: 18 each. What was handed over before waits for one that ends."""
    passed = passing(echo, limit=100, loops=2)
    socks = [passed.connect() for _ in range(30)]
    assert sum(served(sock) for sock in socks) == 30
    waiting = [passed.connect() for _ in range(30)]
    for sock in waiting:
        sock.sendall(b"a")
    for sock in socks:
        sock.close()
    for sock in waiting:
        assert sock.recv(1) == b"a"
        sock.close()
    until_equal(lambda: [passed.descriptors(pid) for pid in passed.pids], [passed.at_rest] * 2)


def served(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"a")
        return sock.recv(1) == b"a"
    except OSError:
        return False


def test_datagrams_go_back_to_who_sent_them(passing: Callable[..., Passed]) -> None:
    def serve(sock: socket.socket) -> None:
        seen = set()
        while True:
            try:
                data, sender = sock.recvfrom(1 << 16)
            except OSError:
                return
            seen.add(sender)
            sock.sendto(b"%d %b" % (len(seen), data), sender)

    passed = passing(serve, protocol="udp")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for sock in (one, two):
            sock.settimeout(30)
            sock.connect(("127.0.0.1", passed.port))
        for _ in range(2):
            one.send(b"one")
            assert one.recv(100) in (b"1 one", b"2 one")
            two.send(b"two" * 10_000)
            assert two.recv(1 << 16) == b"2 " + b"two" * 10_000
        one.send(b"")
        assert one.recv(100) == b"2 "


def test_connections_wait_until_clients_of_datagrams_are_forgotten(
    passing: Callable[..., Passed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 64 descriptors for other things, 8 are for clients, and a connection wants two of them."""
    monkeypatch.setattr(port_loop, "_FORGET", 3.0)
    monkeypatch.setattr(port_loop, "_LOOK", 0.2)
    (udp,) = bind((Published("127.0.0.1", (0, 0), 9, "udp"),), lambda port, kind: "")
    with closing(udp.socket):
        passed = passing(echo, limit=64 + 8, beside=(udp,))
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
        for client in clients:
            client.sendto(b"x", ("127.0.0.1", udp.port))
            client.close()
        until_equal(lambda: passed.descriptors() - passed.at_rest, 7)
        with passed.connect() as sock:
            sock.sendall(b"a")
            assert sock.recv(1) == b"a"
        until_equal(passed.descriptors, passed.at_rest)
