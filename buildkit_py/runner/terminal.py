"""A terminal handed through: what is typed here goes to the container's pseudo-terminal, what it draws comes here.

The terminal here is raw while it lasts, so that keys, Ctrl-C included, reach
the program inside as bytes and its own line discipline acts on them. It is
put back whatever happens.
"""

from __future__ import annotations

import os
import select
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any
else:
    import _signal

_PIECE = 65536
_MOST_KEPT = 65536 + 4096  # what a pseudo-terminal keeps for who reads: TTYB_DEFAULT_MEM_LIMIT, N_TTY_BUF_SIZE


class Raw:
    """Makes a terminal raw for the length of a `with`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] = []

    def __enter__(self) -> Raw:
        self._before = termios.tcgetattr(self._fd)
        # What was typed until now is for the container, too.
        termios.tcsetattr(self._fd, termios.TCSADRAIN, _raw(self._before))
        return self

    def __exit__(self, *_: object) -> None:
        # A terminal that hung up has no settings to get back.
        try:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        except termios.error:
            pass


def _raw(before: list[Any]) -> list[Any]:
    """cfmakeraw(3) of some settings."""
    iflag, oflag, cflag, lflag, *rest = before
    iflag &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    oflag &= ~termios.OPOST
    cflag = (cflag & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    control = list(rest[-1])
    control[termios.VMIN], control[termios.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, *rest[:-1], control]


def size() -> tuple[int, int]:
    """Rows and columns of the terminal that this process is on, (0, 0) where it is on none."""
    for number in (0, 1):
        try:
            return termios.tcgetwinsize(number)
        except (termios.error, OSError):
            continue
    return 0, 0


def copy_size(source: int, target: int) -> None:
    """Give one terminal the rows and columns of another. One that hung up keeps what it had."""
    try:
        termios.tcsetwinsize(target, termios.tcgetwinsize(source))
    except (termios.error, OSError):
        pass


class Resizing:
    """Keeps a terminal as large as another for the length of a `with`."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._before: Any = None

    def __enter__(self) -> Resizing:
        self._before = _signal.signal(_signal.SIGWINCH, lambda *_: copy_size(self._source, self._target))
        copy_size(self._source, self._target)
        return self

    def __exit__(self, *_: object) -> None:
        _signal.signal(_signal.SIGWINCH, self._before)


def pass_through(master: int, stdin: int, stdout: int, pidfd: int = -1) -> bool:
    """Copy between a pseudo-terminal's `master` and our `stdin` and `stdout` until the other side has gone.

    `stdin` -1 sends nothing. The process of `pidfd`, if that is not -1, is who the terminal is for: it is over when
    that has ended, whatever else has the terminal open. False if our own terminal went first: it hung up.
    """
    os.set_blocking(master, False)
    to_master = b""
    while True:
        reading = [master]
        if stdin >= 0 and len(to_master) < _PIECE:
            reading.append(stdin)
        if pidfd >= 0:
            reading.append(pidfd)
        readable, writable, _ = select.select(reading, [master] if to_master else [], [])
        if pidfd in readable:
            return _write_rest(master, stdout)
        if master in readable:
            piece = _read(master)
            if piece == b"":
                return True
            if not _write_all(stdout, piece or b""):
                return False
        if stdin in readable:
            typed = _read(stdin)
            if typed == b"":  # a raw terminal has no end of file but its hanging up
                return False
            to_master += typed or b""
        if writable:
            to_master = to_master[_write(master, to_master) :]


def _write_rest(master: int, stdout: int) -> bool:
    """Copy what there is, but not what a process that was left behind goes on to write; as `pass_through`."""
    left = _MOST_KEPT
    while left > 0 and (piece := _read(master)):
        left -= len(piece)
        if not _write_all(stdout, piece):
            return False
    return True


def _read(fd: int) -> bytes | None:
    """What there is to read; empty at the end, None where there is nothing yet."""
    try:
        return os.read(fd, _PIECE)
    except BlockingIOError:
        return None
    except OSError:  # EIO: no process has the other side open any more
        return b""


def _write(fd: int, data: bytes) -> int:
    """How many bytes the other side took; all of them if it has gone, which reading will tell."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)


def _write_all(fd: int, data: bytes) -> bool:
    """Whether somebody is still there to see it."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # standard output was made non-blocking by whoever shares it
            select.select([], [fd], [])
        except OSError:
            return False
    return True
