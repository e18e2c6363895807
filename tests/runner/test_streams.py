"""What a container gets as its streams: pipes for what it could do something to, and nothing is waited for in vain."""

from __future__ import annotations

import os
import pty
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from buildkit_py.runner.streams import Streams


def through(script: str, stdin: int, out: int, err: int) -> int:
    """Run a shell on streams as those of a container; its exit code."""
    streams = Streams(out, err, stdin)
    try:
        process = subprocess.Popen(["sh", "-c", script], stdin=streams.stdin, stdout=streams.out, stderr=streams.err)
        pidfd = os.pidfd_open(process.pid)
        streams.serve_until(pidfd)
        os.close(pidfd)
        return process.wait(60)
    finally:
        streams.close()


def test_what_is_a_pipe_and_what_is_handed_over(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.mkfifo(tmp_path / "named")
    named = os.open(tmp_path / "named", os.O_RDWR)
    with (tmp_path / "file").open("w+") as file, open("/dev/null", "r+") as null:
        streams = Streams(file.fileno(), writer, reader)
        assert (streams.err, streams.stdin) == (writer, reader)
        assert os.fstat(streams.out).st_ino != os.fstat(file.fileno()).st_ino
        streams.close()
        for fd in (named, file.fileno(), null.fileno()):
            streams = Streams(fd, fd, fd)
            assert streams.out == streams.err, "one for both, so that the order stays"
            assert {os.fstat(one).st_ino for one in (streams.out, streams.stdin)} & {os.fstat(fd).st_ino} == set()
            streams.close()
    for fd in (reader, writer, named):
        os.close(fd)


@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_001])
def test_all_goes_through(size: int) -> None:
    data = os.urandom(size)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
        given.write(data)
        given.seek(0)
        assert through("cat; cat >&2; exit 5", given.fileno(), output.fileno(), output.fileno()) == 5
        output.seek(0)
        assert output.read() == data


def test_it_ends_though_its_input_does_not(tmp_path: Path) -> None:
    """A terminal at which nobody types, a pipe with a name, and more than anybody reads."""
    ours, theirs = pty.openpty()
    os.mkfifo(tmp_path / "named")
    named = os.open(tmp_path / "named", os.O_RDWR)
    zero = os.open("/dev/zero", os.O_RDONLY)
    for source in (theirs, named, zero):
        with tempfile.TemporaryFile() as output:
            assert through("head -c 1 /dev/zero; exit 4", source, output.fileno(), output.fileno()) == 4
            assert through("exec <&-; sleep 0.1; exit 4", source, output.fileno(), output.fileno()) == 4
    reader, writer = os.pipe()
    for source in (theirs, named, zero):
        assert through("echo it ran", source, writer, writer) == 0
        assert os.read(reader, 100) == b"it ran\n"
    for fd in (ours, theirs, named, zero, reader, writer):
        os.close(fd)


def test_what_is_left_behind_and_writes_on_is_not_waited_for() -> None:
    with tempfile.TemporaryFile() as output:
        script = "(while :; do echo more; done) & echo $!; exit 3"
        assert through(script, output.fileno(), output.fileno(), output.fileno()) == 3
        output.seek(0)
        os.kill(int(next(line for line in output if line.strip().isdigit())), signal.SIGKILL)


def test_without_a_process_to_watch_the_end_of_its_output_is_the_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "named")
    named = os.open(tmp_path / "named", os.O_RDWR)
    with tempfile.TemporaryFile() as output:
        streams = Streams(output.fileno(), output.fileno(), named)
        process = subprocess.Popen(["echo", "x"], stdin=streams.stdin, stdout=streams.out, stderr=streams.err)
        streams.serve_until(-1)
        streams.close()
        assert process.wait(60) == 0
        output.seek(0)
        assert output.read() == b"x\n"
    os.close(named)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_socket_is_served_and_not_handed_over(family: int) -> None:
    """Connected anew, or listening, it would be one of the network that it was made in, whatever the container has."""
    if family == socket.AF_UNIX:
        person, ours = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            person = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
    with person, ours:
        streams = Streams(ours.fileno(), ours.fileno(), ours.fileno())
        assert not any(stat.S_ISSOCK(os.fstat(fd).st_mode) for fd in (streams.stdin, streams.out, streams.err))
        streams.close()
        data = os.urandom(70_000)
        person.sendall(data)
        person.shutdown(socket.SHUT_WR)
        assert through("cat; echo end >&2; exit 5", ours.fileno(), ours.fileno(), ours.fileno()) == 5
        ours.close()
        with person.makefile("rb") as answer:
            assert answer.read() == data + b"end\n"


def test_a_connection_that_is_gone_is_told_to_who_writes() -> None:
    person, ours = socket.socketpair()
    with ours:
        person.close()
        assert through("yes", ours.fileno(), ours.fileno(), 2) in (-signal.SIGPIPE, 141)


def test_what_could_not_be_written_is_said() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    ours, theirs = pty.openpty()
    reader, writer = socket.socketpair()
    reader.close()
    os.close(ours)
    said = []
    with tempfile.TemporaryFile() as file, writer:
        for out, err in ((full, file.fileno()), (file.fileno(), full), (full, full), (theirs, writer.fileno())):
            streams = Streams(out, err)
            process = subprocess.Popen(
                ["sh", "-c", "echo x; echo y >&2"], stdin=subprocess.DEVNULL, stdout=streams.out, stderr=streams.err
            )
            streams.serve_until(-1)
            streams.close()
            process.wait(60)
            said.append(streams.lost.removesuffix(" could not be written: No space left on device"))
    assert said == ["standard output", "standard error", "the output", ""], "who hung up does not want it"
    os.close(full)
    os.close(theirs)
