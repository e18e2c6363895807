"""Holding signals back around a fork, until it is noted what was forked.

What a handler raises would be raised in the child as well, and unwind its
parent's stack there. The child lets signals through itself.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum

_SIG_BLOCK, _SIG_SETMASK = 0, 2


class Unsignalled:
    """A context manager in which no signal is handled, in this thread."""

    def __enter__(self) -> None:
        self._before = _signal.pthread_sigmask(_SIG_BLOCK, ())
        try:
            _signal.pthread_sigmask(_SIG_SETMASK, _signal.valid_signals())
        except BaseException:  # one that came just before was handled once the others were held back
            _signal.pthread_sigmask(_SIG_SETMASK, self._before)
            raise

    def __exit__(self, *_: object) -> None:
        _signal.pthread_sigmask(_SIG_SETMASK, self._before)
