"""A deadline: something is done when a step takes too long, unless the step ends first."""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline:
    """Calls `act` in a thread of its own once so many milliseconds are over; `passed` says whether that happened.

    `end` has to be called in any case; after it, `act` is not called any more and no call of it goes on.
    """

    def __init__(self, milliseconds: int, act: Callable[[], None]) -> None:
        self.passed = False
        self._act = act
        self._ended = _thread.allocate_lock()
        self._gone = _thread.allocate_lock()
        self._ended.acquire()
        self._gone.acquire()
        _thread.start_new_thread(self._watch, (milliseconds / 1000,))

    def end(self) -> None:
        """Stop watching."""
        self._ended.release()
        self._gone.acquire()

    def _watch(self, seconds: float) -> None:
        try:
            if not self._ended.acquire(timeout=min(seconds, _thread.TIMEOUT_MAX)):
                self.passed = True
                self._act()
        finally:
            self._gone.release()


def duration(milliseconds: int) -> str:
    """A length of time as a person would write it after `--timeout=`: `1h30m`, `10m`, `1.5s`, `300ms`."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    return text + (f"{rest / 1000:g}s" if rest or not text else "")
