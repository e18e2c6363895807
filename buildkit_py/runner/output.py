"""Output to a device, a terminal or /dev/null: written by pybuild for a container, which gets a pipe instead.

Who has a descriptor of a device has the device: through /proc/self/fd root in a
container could change the mode and the owner of this machine's /dev/null, and
read what is typed at a terminal. A file or a pipe is handed over as it is.
"""

from __future__ import annotations

import os
import select

_PIECE = 65536
_KIND, _CHARACTER_DEVICE = 0o170000, 0o020000


class Output:
    """What a container gets as standard output and error: `out` and `err`. Call `close` in any case."""

    def __init__(self, out: int, err: int) -> None:
        self._reading: dict[int, int] = {}  # our end of a pipe → the device that it is written to
        self._given: list[int] = []
        places: dict[tuple[int, int], int] = {}
        self.out = self._give(out, places)
        self.err = self._give(err, places)

    def _give(self, fd: int, places: dict[tuple[int, int], int]) -> int:
        try:
            status = os.fstat(fd)
        except OSError:  # closed, which whoever writes to it is told
            return fd
        if status.st_mode & _KIND != _CHARACTER_DEVICE:
            return fd
        place = (status.st_dev, status.st_ino)
        if place not in places:  # one pipe where both are one terminal: what is written keeps its order
            reader, writer = os.pipe()
            self._reading[reader] = fd
            self._given.append(writer)
            places[place] = writer
        return places[place]

    def write_until(self, pidfd: int) -> None:
        """Write what the container writes, until it has ended. `pidfd` is that of its first process, or -1."""
        while self._given:
            os.close(self._given.pop())
        poll = select.poll()
        for fd in (pidfd, *self._reading):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        ended = False
        while self._reading and not ended:
            ready = [fd for fd, _ in poll.poll()]
            ended = pidfd in ready
            # Whatever else holds the pipe open, an end is an end: what has been written by then is read.
            for fd in list(self._reading) if ended else ready:
                while fd in self._reading and _is_readable(fd):
                    if not self._pass_on(fd):
                        poll.unregister(fd)
                        del self._reading[fd]
                        os.close(fd)
                    elif not ended:
                        break

    def _pass_on(self, fd: int) -> bool:
        """Whether there may be more."""
        data = os.read(fd, _PIECE)
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._reading[fd], left) :]
            except BlockingIOError:  # made non-blocking by whoever shares it
                select.select([], [self._reading[fd]], [])
            except OSError:  # the terminal hung up; who writes on is told by the pipe
                return False
        return bool(data)

    def close(self) -> None:
        """Close our ends."""
        for fd in (*self._given, *self._reading):
            os.close(fd)
        self._given, self._reading = [], {}


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
