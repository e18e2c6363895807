"""The stream that progress is written to: whole lines, from any thread, until its reader goes away."""

from __future__ import annotations

from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO


class Stream:
    """A text stream shared by threads.

    A worker thread that reports has no use for a `BrokenPipeError`. So a reader that went away
    (`pybuild … 2>&1 | head`) is noted in `gone`, `on_gone` is called once, and later lines are dropped.
    `used`: something was written.
    """

    def __init__(self, target: TextIO, on_gone: Callable[[], None] | None = None) -> None:
        self.target = target
        self.gone = False
        self.used = False
        self._on_gone = on_gone
        self._lock = allocate_lock()

    def write(self, text: str) -> None:
        """Write complete lines at once. Raises nothing."""
        with self._lock:
            if self.gone:
                return
            self.used = True
            try:
                self.target.write(text)
                self.target.flush()
                return
            except UnicodeEncodeError:
                encoding = self.target.encoding or "ascii"
                self.target.write(text.encode(encoding, "backslashreplace").decode(encoding))
                self.target.flush()
                return
            except (BrokenPipeError, ValueError):  # ValueError: the stream was closed
                self.gone = True
            except OSError:
                # A full disk, or a terminal that was closed, of which a signal tells: no progress, and no failure.
                self.gone = True
                return
        if self._on_gone is not None:
            self._on_gone()
