"""What listens on a port, by what the kernel says of real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from buildkit_py.executor.listening import NOBODY, TO_ALL, TO_ITSELF, listens


@pytest.mark.parametrize(
    ("family", "address", "wanted"),
    [
        (socket.AF_INET, "0.0.0.0", TO_ALL),
        (socket.AF_INET, "127.0.0.1", TO_ITSELF),
        (socket.AF_INET, "127.9.9.9", TO_ITSELF),
        (socket.AF_INET6, "::", TO_ALL),
        (socket.AF_INET6, "::1", TO_ITSELF),
        (socket.AF_INET6, "::ffff:127.0.0.1", TO_ITSELF),
    ],
)
def test_a_server(family: int, address: str, wanted: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            pytest.skip("no IPv6 here")
        port = sock.getsockname()[1]
        assert listens(os.getpid(), port) == NOBODY, "a socket that is only bound"
        sock.listen()
        assert listens(os.getpid(), port) == wanted
    assert listens(os.getpid(), port) == NOBODY


def test_a_connection_is_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert listens(os.getpid(), client.getsockname()[1]) == NOBODY


def test_a_process_that_has_ended_listens_to_nobody() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert listens(ended.pid, 80) == NOBODY
