"""A pipeline: stages in threads of their own, with a bounded number of pieces between them.

Hashing and compression release the interpreter's lock, so they run beside
the Python that makes or takes their bytes. An error in a stage ends the
stages around it and is raised to whoever gives it pieces or waits for it.
"""

from __future__ import annotations

from _queue import SimpleQueue

from buildkit_py.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

# Pieces are about 1 MiB. What waits is memory, and more of it makes nothing faster.
_DEPTH = 4


class _Between:
    """The pieces between two threads, a few at most. Not `queue.Queue`, of which loading alone takes 4 ms."""

    def __init__(self) -> None:
        self._pieces: SimpleQueue[Any] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(_DEPTH):
            self._room.put(None)

    def put(self, piece: Any) -> None:
        """Add one; waits while there is no room."""
        self._room.get()
        self._pieces.put(piece)

    def get(self) -> Any:
        """Take the oldest; waits until there is one."""
        piece = self._pieces.get()
        self._room.put(None)
        return piece

    def empty(self) -> bool:
        return self._pieces.empty()


class Stage:
    """A thread that hands each piece it is given to `work`, in order."""

    def __init__(self, work: Callable[[bytes], object]) -> None:
        self._work = work
        self._pieces = _Between()
        self._problem: BaseException | None = None
        self._thread = Thread(self._run)

    def _run(self) -> None:
        while True:
            piece = self._pieces.get()
            if piece is None:
                return
            if self._problem is None:
                try:
                    self._work(piece)
                except BaseException as problem:
                    # Raised in `put` or `close`; from here on pieces are only taken off the queue.
                    self._problem = problem

    def put(self, piece: bytes) -> None:
        """Give one piece; waits while the stage is behind. Raises what the stage raised."""
        if self._problem is not None:
            raise self._problem
        self._pieces.put(piece)

    def close(self, *, quiet: bool = False) -> None:
        """Wait until every piece is done. Raises what the stage raised, unless `quiet`."""
        self._pieces.put(None)
        self._thread.join()
        if self._problem is not None and not quiet:
            raise self._problem


class Feed:
    """A thread that runs through an iterable ahead of whoever iterates over this.

    Use as a context manager: leaving it ends the thread, also when not all was taken.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._source = pieces
        self._pieces = _Between()
        self._stopped = False
        self._thread = Thread(self._run)

    def _run(self) -> None:
        try:
            for piece in self._source:
                self._pieces.put(piece)
                if self._stopped:
                    break
        except BaseException as problem:
            self._pieces.put(problem)
        self._pieces.put(None)

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        while not self._thread.join(0.001):
            # The thread may wait for room between them; make some until it has seen the flag.
            while not self._pieces.empty():
                self._pieces.get()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            piece = self._pieces.get()
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
