"""Threads without the module `threading`, which takes 1.3 ms to load: started, waited for, and no more.

None of them keeps the process from ending.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Thread:
    """A thread that runs `work`, which is to see to what it raises itself."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._runs = allocate_lock()
        self._runs.acquire()
        start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._runs.release()

    def join(self, seconds: float = -1) -> bool:
        """Wait for its end, for so many seconds at most (-1: for as long as it takes); whether it has ended."""
        if not self._runs.acquire(timeout=seconds):
            return False
        self._runs.release()
        return True
