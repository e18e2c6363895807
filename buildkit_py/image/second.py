"""A second process of this Python, for work on many small files: one interpreter keeps one processor busy.

It is a fresh interpreter and no fork, for this process is large and has
threads. Both see one piece of memory, cut into slots. A request lies in a
slot, marshalled, and what becomes of it is written into the same slot; over
a socket go only the numbers of slots, and a directory's descriptor.

It is never needed: where it cannot be started, or is not up yet, its user
does the work itself. There is one at a time, as there are other threads to
keep a third processor busy; who has no more use for it leaves it to the next.
"""

from __future__ import annotations

import _socket
import os
import sys
from _struct import Struct
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self, TypeAlias

    # From what is in a slot (and how long that is), and an open directory or -1, to what is in it afterwards.
    Task: TypeAlias = Callable[[memoryview, int, int], int]

SLOTS = 4
SIZE = (1 << 20) + (1 << 18)  # bytes of a slot
# A slot's number and how many bytes of it count; in a request the task's name follows.
_MESSAGE = Struct("<II")
_HELLO = _MESSAGE.pack(0, 0)
_LONGEST = 256
_SOCKET, _MEMORY = 3, 4
_SIGNALS_OF_TERMINALS = (1, 2, 3)  # SIGHUP, SIGINT, SIGQUIT go to the whole group; this one's end is its parent's
_SIGKILL = 9
_starting = allocate_lock()
_busy = False
_spare: Second | None = None


class Lost(Exception):
    """The second process ended, and took what it was given with it."""


class Second:
    """The process, as the one that started it sees it; see `start`."""

    def __init__(self) -> None:
        import mmap

        self.free = list(range(SLOTS))  # slots that nobody uses
        memory = os.memfd_create("pybuild-second", os.MFD_CLOEXEC)
        try:
            os.ftruncate(memory, SLOTS * SIZE)
            self._memory = mmap.mmap(memory, SLOTS * SIZE)
            self._view = memoryview(self._memory)
            self._socket, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
            self.pid = _spawn(other, memory)
        finally:
            os.close(memory)
        self._up = False
        self._ended = False
        self._left = False

    def is_up(self) -> bool:
        """Whether it takes requests by now. Raises `Lost` if it never will."""
        if not self._up and self.has_answer():
            if self._socket.recv(_MESSAGE.size) != _HELLO:
                raise Lost
            self._up = True
        return self._up

    def slot(self, number: int) -> memoryview:
        """The memory of a slot."""
        return self._view[number * SIZE : (number + 1) * SIZE]

    def give(self, task: str, number: int, length: int, directory: int = -1) -> None:
        """Have the task `module:function`, a `Task`, done on a slot, of which so many bytes count. Raises `Lost`."""
        rights = []
        if directory >= 0:
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, directory.to_bytes(4, sys.byteorder))]
        try:
            self._socket.sendmsg([_MESSAGE.pack(number, length), task.encode()], rights)
        except OSError as problem:
            raise Lost from problem

    def has_answer(self) -> bool:
        """Whether `take` need not wait."""
        import select

        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def take(self) -> tuple[int, int]:
        """Wait for the oldest request: its slot, and how many bytes of it count. Raises `Lost`."""
        try:
            data = self._socket.recv(_MESSAGE.size)
        except OSError as problem:
            raise Lost from problem
        if len(data) != _MESSAGE.size:
            raise Lost
        number, length = _MESSAGE.unpack(data)
        return number, length

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def leave(self) -> None:
        """Leave it, idle, to whoever starts one next. It ends with this process at the latest."""
        global _busy, _spare
        if len(self.free) < SLOTS:
            self.close()
        elif not self._ended:
            self._left = True
            _spare, _busy = self, False

    def close(self) -> None:
        """End it at once, whatever it is at, and wait for that."""
        global _busy  # noqa: PLW0603
        if self._ended:
            return
        self._ended = True
        self._socket.close()
        os.kill(self.pid, _SIGKILL)
        os.waitpid(self.pid, 0)
        # What an error's traceback still sees of the memory keeps it until then.
        self._view = memoryview(b"")
        del self._memory
        if not self._left:
            _busy = False


def end_left() -> None:
    """End the process that was left, if there is one: nobody is going to start another soon."""
    global _spare
    with _starting:
        left, _spare = _spare, None
    if left is not None:
        left.close()


def start() -> Second | None:
    """Start a second process, or take over one that was left; None where there is one at work, or can be none."""
    global _busy, _spare  # noqa: PLW0603
    with _starting:
        if _busy or not sys.executable or len(os.sched_getaffinity(0)) < 2:
            return None
        _busy = True
        left, _spare = _spare, None
    if left is not None:
        left._left = False
        return left
    try:
        return Second()
    except OSError:  # too many processes, no memory
        _busy = False
        return None


def _spawn(other: _socket.socket, memory: int) -> int:
    import fcntl

    program = f"import sys; sys.path[:] = {sys.path!r}; from buildkit_py.image.second import serve; serve()"
    flags = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else []), *(["-X", "utf8"] if sys.flags.utf8_mode else [])]
    # Out of the way of the numbers that they get in the other process.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (other.fileno(), memory)]
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *flags, "-c", program],
            os.environ,
            file_actions=[
                *[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)],
                (os.POSIX_SPAWN_DUP2, high[0], _SOCKET),
                (os.POSIX_SPAWN_DUP2, high[1], _MEMORY),
            ],
            setsigmask=_SIGNALS_OF_TERMINALS,
        )
    finally:
        other.close()
        for fd in high:
            os.close(fd)


def serve() -> None:
    """Do requests, in the second process, until the first one closes its end."""
    import gc
    import mmap
    from importlib import import_module

    gc.disable()
    memory: Any = mmap.mmap(_MEMORY, 0)
    view = memoryview(memory)
    sock = _socket.socket(fileno=_SOCKET)
    sock.send(_HELLO)
    tasks: dict[bytes, Task] = {}
    while True:
        data, ancillary, *_ = sock.recvmsg(_LONGEST, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)  # nothing here is worth an orderly end
        number, length = _MESSAGE.unpack_from(data)
        name = data[_MESSAGE.size :]
        task = tasks.get(name)
        if task is None:
            module, _, function = name.decode().partition(":")
            task = tasks[name] = getattr(import_module(module), function)
        directory = int.from_bytes(ancillary[0][2], sys.byteorder) if ancillary else -1
        length = task(view[number * SIZE : (number + 1) * SIZE], length, directory)
        if directory >= 0:
            os.close(directory)
        sock.send(_MESSAGE.pack(number, length))
