"""Which failures of a server are tried again, how often, and after how long a pause.

Only what is known to pass: a connection that was reset, a transfer that broke
off, and the statuses in `PASSING`. Pauses grow and are random, so that many
builds do not come back at once; what a server asks for in `Retry-After` is
believed up to half a minute.
"""

from __future__ import annotations

from buildkit_py.http.transport import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

PASSING = frozenset((408, 429, 500, 502, 503, 504))
ATTEMPTS = 5
LONGEST_PAUSE = 30.0


def retrying(action: Callable[[], T], sleep: Callable[[float], object], *, attempts: int = ATTEMPTS) -> T:
    """What `action` returns, after at most that many calls; the last `Broken` is raised."""
    for attempt in range(attempts - 1):
        try:
            return action()
        except Broken as problem:
            sleep(pause(attempt, problem.retry_after))
    return action()


def pause(attempt: int, asked: float = 0.0) -> float:
    """Seconds to wait after the attempt with that number, counted from 0; `asked` is the server's wish."""
    import random  # takes 1 ms, and is seldom needed

    if asked > 0:
        return min(asked, LONGEST_PAUSE) + random.uniform(0, 0.25)
    return float(min(0.2 * 2**attempt * random.uniform(0.5, 1.5), LONGEST_PAUSE))


def retry_after(header: str) -> float:
    """The seconds of a `Retry-After` header (RFC 9110, section 10.2.3); 0 where there is none, or what it is not."""
    if header.isascii() and header.isdigit():
        return float(header) if len(header) < 12 else 0.0
    if "," not in header:
        return 0.0
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
