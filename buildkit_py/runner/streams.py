"""The standard streams of a container: pipes to pybuild, which reads and writes files, devices and terminals for it.

Who has a descriptor of a file has the file: through /proc/self/fd root in a
container could change its mode and owner, read what it held before, empty it,
or write to what was to be read; and so it could with this machine's /dev/null,
or a terminal. A socket belongs for ever to the network that it was made in:
connected anew it leads to all that listens there. Only a pipe without a name
is handed over as it is.
"""

from __future__ import annotations

import os
import select

_PIECE = 65536
_KIND, _PIPE, _CHARACTERS = 0o170000, 0o010000, 0o020000
_EIO = 5
_GONE = (32, 104)  # EPIPE, ECONNRESET


class Streams:
    """What a container gets as standard output, error and input: `out`, `err` and `stdin`. Call `close` in any case.

    `stdin` -1 stays so: the container has none. `lost` says what could not be written, and why, "" where all was.
    """

    def __init__(self, out: int, err: int, stdin: int = -1) -> None:
        self._reading: dict[int, int] = {}  # our end of a pipe → what it is written to
        self._given: list[int] = []
        self._lent: list[int] = []  # of whoever runs us, handed over as they are
        self._source = self._sink = -1  # what is read for the container, and our end of the pipe to it
        self._pending = b""
        self.lost = ""
        self._names = {out: "standard output", err: "standard error"} if out != err else {out: "the output"}
        places: dict[tuple[int, int], int] = {}
        self.out = self._give(out, places)
        self.err = self._give(err, places)
        self.stdin = self._take(stdin)

    def _give(self, fd: int, places: dict[tuple[int, int], int]) -> int:
        try:
            status = os.fstat(fd)
        except OSError:  # closed, which whoever writes to it is told
            return fd
        if _may_be_handed_over(status):
            self._lent.append(fd)
            return fd
        place = (status.st_dev, status.st_ino)
        if place not in places:  # one pipe where both are one terminal or file: what is written keeps its order
            reader, writer = os.pipe()
            self._reading[reader] = fd
            self._given.append(writer)
            places[place] = writer
        return places[place]

    def _take(self, fd: int) -> int:
        try:
            if fd < 0:
                return fd
            if _may_be_handed_over(os.fstat(fd)):
                self._lent.append(fd)
                return fd
        except OSError:
            return fd
        reader, self._sink = os.pipe()
        os.set_blocking(self._sink, False)
        self._source = fd
        self._given.append(reader)
        return reader

    def serve_until(self, pidfd: int) -> None:
        """Write what it writes and read for it until it has ended. `pidfd` is that of its first process, or -1."""
        while self._given:
            os.close(self._given.pop())
        poll = select.poll()
        for fd in (pidfd, *self._reading, self._source):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        if self._sink >= 0:
            poll.register(self._sink, 0)  # that nobody reads any more is told in any case
        ended = False
        while (self._reading or self._sink >= 0) and not ended:
            events = dict(poll.poll())
            ended = pidfd in events
            if self._sink >= 0:
                self._feed(poll, events)
            # Whatever else holds the pipe open, and writes on, an end is an end: what was written by then is read.
            for fd in list(self._reading) if ended else events:
                left = _capacity(fd) if ended and fd in self._reading else 1
                while left > 0 and fd in self._reading and _is_readable(fd):
                    count = self._pass_on(fd)
                    left -= count
                    if not count:
                        poll.unregister(fd)
                        del self._reading[fd]
                        os.close(fd)

    def _pass_on(self, fd: int) -> int:
        """How many bytes came; 0 where there will be no more."""
        data = os.read(fd, _PIECE)
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._reading[fd], left) :]
            except BlockingIOError:  # made non-blocking by whoever shares it
                select.select([], [self._reading[fd]], [])
            except OSError as problem:  # who writes on is told by the pipe
                if not self._is_gone(self._reading[fd], problem.errno):
                    self.lost = f"{self._names[self._reading[fd]]} could not be written: {problem.strerror}"
                return 0
        return len(data)

    def _is_gone(self, fd: int, errno: int | None) -> bool:
        """Whether nobody is left to read: at the other end, or at a terminal that hung up."""
        return errno in _GONE or (errno == _EIO and os.fstat(fd).st_mode & _KIND == _CHARACTERS)

    def _feed(self, poll: select.poll, events: dict[int, int]) -> None:
        """Read a piece for the container, or write of the last one what there is room for."""
        try:
            if events.get(self._sink, 0) & select.POLLERR:
                raise BrokenPipeError
            if self._pending and self._sink in events:
                self._pending = self._pending[os.write(self._sink, self._pending) :]
            elif not self._pending and self._source in events:
                self._pending = os.read(self._source, _PIECE)
                if not self._pending:
                    raise EOFError
        except BlockingIOError:
            return
        except (OSError, EOFError):
            if not self._pending:
                poll.unregister(self._source)
            poll.unregister(self._sink)
            os.close(self._sink)
            self._source = self._sink = -1
            return
        if self._pending:
            poll.register(self._sink, select.POLLOUT)
            if self._source in events:
                poll.unregister(self._source)
        else:
            poll.register(self._sink, 0)
            poll.register(self._source, select.POLLIN)

    def close(self) -> None:
        """Close our ends; what was handed over is ours again, for the command's user may have got it."""
        for fd in self._lent:
            try:
                if os.fstat(fd).st_uid != os.geteuid():
                    os.fchown(fd, os.geteuid(), -1)
            except OSError:
                pass  # whoever has it now goes without opening it by name
        for fd in (*self._given, *self._reading, self._sink):
            if fd >= 0:
                os.close(fd)
        self._given, self._lent, self._reading, self._sink = [], [], {}, -1


def _may_be_handed_over(status: os.stat_result) -> bool:
    """Whether who has a descriptor of this has nothing else by it: of a pipe without a name.

    And whether it is ours: one of somebody else's could not be given to the command's user, who may open it by name.
    """
    if status.st_mode & _KIND != _PIPE or status.st_uid != os.geteuid():
        return False
    reader, writer = os.pipe()
    nameless = os.fstat(reader).st_dev
    os.close(reader)
    os.close(writer)
    return status.st_dev == nameless


def _capacity(fd: int) -> int:
    """How many bytes a pipe can hold."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
