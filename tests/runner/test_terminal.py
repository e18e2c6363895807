"""Handing a terminal through, between two pseudo-terminals of the test's own."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import termios
import threading

import pytest

from buildkit_py.runner.terminal import Raw, Resizing, copy_size, pass_through


@pytest.fixture
def ours():
    """(the person's side, our side) of our terminal."""
    pair = pty.openpty()
    yield pair
    for fd in pair:
        try:
            os.close(fd)
        except OSError:
            pass  # closed by the test


@pytest.fixture
def theirs():
    """(master, the container's side) of the container's terminal, which hands bytes on as they are."""
    master, slave = pty.openpty()
    with Raw(slave):
        yield master, slave
    for fd in (master, slave):
        try:
            os.close(fd)
        except OSError:
            pass


def read(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count and select.select([fd], [], [], 30)[0]:
        data += os.read(fd, count - len(data))
    return data


def test_raw_and_back(ours):
    _, tty = ours
    before = termios.tcgetattr(tty)

    def work() -> None:
        with Raw(tty):
            now = termios.tcgetattr(tty)
            assert not now[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
            assert not now[1] & termios.OPOST
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert termios.tcgetattr(tty) == before


def test_what_is_typed_goes_in_and_what_is_drawn_comes_out(ours, theirs):
    person, tty = ours
    master, inside = theirs
    answers = []
    with Raw(tty):
        worker = threading.Thread(target=lambda: answers.append(pass_through(master, tty, tty)))
        worker.start()
        os.write(person, b"ls\x03\x1b[A")
        assert read(inside, 6) == b"ls\x03\x1b[A"
        os.write(inside, b"\x1b[2Jdrawn\n")
        assert read(person, 10) == b"\x1b[2Jdrawn\n"
        big = b"0123456789" * 20_000
        writer = threading.Thread(target=lambda: os.write(inside, big))
        writer.start()
        assert read(person, len(big)) == big
        writer.join()
        os.close(inside)
        worker.join(timeout=60)
    assert answers == [True]


def test_our_own_terminal_going_away_is_told(ours, theirs):
    person, tty = ours
    master, _ = theirs
    with Raw(tty):
        os.close(person)
        assert pass_through(master, tty, tty) is False


def test_a_closed_standard_output_is_told(theirs):
    master, inside = theirs
    reader, writer = os.pipe()
    os.close(reader)
    os.write(inside, b"x")
    assert pass_through(master, -1, writer) is False
    os.close(writer)


def test_sizes_follow(ours, theirs):
    person, tty = ours
    master, inside = theirs
    termios.tcsetwinsize(person, (40, 123))
    with Resizing(tty, master):
        assert termios.tcgetwinsize(inside) == (40, 123)
        termios.tcsetwinsize(person, (20, 80))
        signal.raise_signal(signal.SIGWINCH)
        assert termios.tcgetwinsize(inside) == (20, 80)
    termios.tcsetwinsize(person, (10, 10))
    signal.raise_signal(signal.SIGWINCH)
    assert termios.tcgetwinsize(inside) == (20, 80)
    copy_size(os.open(os.devnull, os.O_RDONLY), master)  # no terminal: nothing happens
    assert termios.tcgetwinsize(inside) == (20, 80)


def test_it_is_over_when_the_process_is(ours, theirs):
    """What was left behind has the terminal open still, and draws on it for ever."""
    person, tty = ours
    master, inside = theirs
    with (
        Raw(tty),
        subprocess.Popen(
            ["sh", "-c", "yes & echo $!"], stdout=inside, stderr=subprocess.DEVNULL, process_group=0
        ) as process,
    ):
        pidfd = os.pidfd_open(process.pid)
        try:
            answers, shown = [], []
            worker = threading.Thread(target=lambda: answers.append(pass_through(master, tty, tty, pidfd)))
            worker.start()
            while (alive := worker.is_alive()) or select.select([person], [], [], 0)[0]:
                if not alive or select.select([person], [], [], 0.05)[0]:
                    shown.append(os.read(person, 65536))
        finally:  # who waits for room in a terminal holds its lock, and nobody could give it its settings back
            os.killpg(process.pid, signal.SIGKILL)
        assert answers == [True]
        assert any(line.isdigit() for line in b"".join(shown).split())
    os.close(pidfd)


def test_what_was_typed_before_is_kept(ours):
    person, tty = ours
    os.write(person, b"a line\npart")
    with Raw(tty):
        assert read(tty, 11) == b"a line\npart"
