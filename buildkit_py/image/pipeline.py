"""A pipeline: stages in threads of their own, with a bounded number of pieces between them.

Hashing and compression release the interpreter's lock, so they run beside
the Python that makes or takes their bytes. An error in a stage ends the
stages around it and is raised to whoever gives it pieces or waits for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Pieces are about 1 MiB. What waits is memory, and more of it makes nothing faster.
_DEPTH = 4


class Stage:
    """A thread that hands each piece it is given to `work`, in order."""

    def __init__(self, work: Callable[[bytes], object], name: str) -> None:
        import queue
        import threading

        self._work = work
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

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

    def __init__(self, pieces: Iterable[bytes], name: str) -> None:
        import queue
        import threading

        self._source = pieces
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_DEPTH)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for piece in self._source:
                self._queue.put(piece)
                if self._stopped:
                    break
        except BaseException as problem:
            self._queue.put(problem)
        self._queue.put(None)

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        while self._thread.is_alive():
            # The thread may wait for room in the queue; make some until it has seen the flag.
            while not self._queue.empty():
                self._queue.get()
            self._thread.join(0.001)

    def __iter__(self) -> Iterator[bytes]:
        while True:
            piece = self._queue.get()
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
