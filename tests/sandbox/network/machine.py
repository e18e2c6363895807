"""Becomes a machine of its own for one command: a network namespace with a way to a small world, and servers in both.

    machine.py SCRATCH COMMAND [ARGUMENT…]

The machine is 192.0.2.2 and 2001:db8::2; the world behind its router has a
server at 203.0.113.10 and 2001:db8:1::10, port 7000. The machine itself
listens on its loopback (port 7001) and everywhere (port 7002), and its name
server at 127.0.0.53 says that every name is 203.0.113.10. /dev/net/tun is for
everybody. Each server says its name and who connects.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import subprocess
import sys

_NEWNS, _NEWNET = 0x20000, 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> None:
    if _LIBC.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def _ip(text: str) -> None:
    for line in text.strip().splitlines():
        subprocess.run(["ip", *line.split()], check=True)


# The process that the servers end with. The kernel's own way, a signal at its death, needs the rights of root.
_parent: list[int] = []


def _ready(sockets: list[socket.socket]) -> list[socket.socket]:
    """Those that somebody asks for something. Ends this process with the one that started it."""
    readable = select.select([*sockets, *_parent], [], [])[0]
    if _parent[0] in readable:
        os._exit(0)
    return readable


def _serve(listeners: list[tuple[str, str, int]]) -> None:
    """Answer on all of them."""
    servers = {}
    for name, address, port in listeners:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen()
        servers[sock] = name
    while True:
        for sock in _ready(list(servers)):
            connection, peer = sock.accept()
            connection.sendall(f"{servers[sock]} {peer[0]}\n".encode())
            connection.close()


def _serve_names() -> None:
    """A name server for UDP and TCP that knows one answer."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.53", 53))
    streams = socket.socket()
    streams.bind(("127.0.0.53", 53))
    streams.listen()
    while True:
        for sock in _ready([datagrams, streams]):
            if sock is datagrams:
                data, peer = datagrams.recvfrom(512)
                datagrams.sendto(_answer(data), peer)
            else:
                connection, _ = streams.accept()
                length = int.from_bytes(connection.recv(2), "big")
                answer = _answer(connection.recv(length))
                connection.sendall(len(answer).to_bytes(2, "big") + answer)
                connection.close()


def _answer(question: bytes) -> bytes:
    """Of a question for an A record the one answer, of any other none (RFC 1035, section 4.1)."""
    end = question.index(b"\0", 12) + 5
    wants_address = question[end - 4 : end - 2] == b"\0\1"
    header = question[:2] + b"\x81\x80" + question[4:6] + (b"\0\1" if wants_address else b"\0\0") + bytes(4)
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton("203.0.113.10")
    return header + question[12:end] + (record if wants_address else b"")


def _fork(serve: object, *arguments: object) -> int:
    """A process of a server; that has said so when this returns."""
    reader, writer = os.pipe()
    parent = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid:
        os.close(parent)
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        return pid
    _parent.append(parent)
    try:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        assert callable(serve)
        serve(writer, *arguments)
    finally:
        os._exit(1)


def _enter_network() -> None:
    """A network namespace whose addresses are usable at once: nobody looks for others that have them."""
    _unshare(_NEWNET)
    with open("/proc/sys/net/ipv6/conf/default/accept_dad", "w") as file:
        file.write("0")


def _world(writer: int) -> None:
    _enter_network()
    os.write(writer, b"1")
    while "eth0:" not in _read("/proc/net/dev"):
        select.select([], [], [], 0.01)
    _ip(
        """
        link set lo up
        addr add 203.0.113.10/32 dev lo
        -6 addr add 2001:db8:1::10/128 dev lo nodad
        addr add 192.0.2.1/24 dev eth0
        -6 addr add 2001:db8::1/64 dev eth0 nodad
        link set eth0 up
        """
    )
    _serve([("world", "203.0.113.10", 7000), ("world", "2001:db8:1::10", 7000)])


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _machine(writer: int) -> None:
    os.write(writer, b"1")
    everywhere = [("machine", "0.0.0.0", 7002), ("machine", "::", 7002)]
    _serve([("loopback", "127.0.0.1", 7001), ("loopback", "::1", 7001), *everywhere])


def _names(writer: int) -> None:
    os.write(writer, b"1")
    _serve_names()


def main() -> None:
    scratch, *command = sys.argv[1:]
    _enter_network()
    _unshare(_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    os.makedirs(scratch, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "machine", scratch], check=True)
    os.mknod(f"{scratch}/tun", 0o20666, os.makedev(10, 200))
    os.chmod(f"{scratch}/tun", 0o666)
    subprocess.run(["mount", "--bind", f"{scratch}/tun", "/dev/net/tun"], check=True)
    with open(f"{scratch}/resolv.conf", "w") as file:
        file.write("nameserver 127.0.0.53\nsearch example.test\n")
    subprocess.run(["mount", "--bind", f"{scratch}/resolv.conf", "/etc/resolv.conf"], check=True)
    world = _fork(_world)
    _ip(
        f"""
        link set lo up
        link add eth0 type veth peer name eth0 netns {world}
        addr add 192.0.2.2/24 dev eth0
        -6 addr add 2001:db8::2/64 dev eth0 nodad
        link set eth0 up
        route add default via 192.0.2.1
        -6 route add default via 2001:db8::1
        """
    )
    while "fe80" not in _read("/proc/net/if_inet6"):  # until the other end is up
        select.select([], [], [], 0.01)
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        with open(f"/proc/sys/net/{name}", "w") as file:
            file.write("1")
    _fork(_machine)
    _fork(_names)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
