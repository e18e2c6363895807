"""When a container that ended is started again."""

from __future__ import annotations

from buildkit_py.errors import UsageError
from buildkit_py.record import Record
from buildkit_py.whole_number import whole_number

# What a container that keeps ending waits before it is started again: the first time, and at most (seconds).
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0
# One that ran for so long has not failed to start, and waits as at first.
SETTLED = 10.0
_POLICIES = ("no", "on-failure", "always", "unless-stopped")


class Restart(Record):
    """`policy` is docker's word; `most` restarts at most, 0 for any number."""

    policy: str = "no"
    most: int = 0

    def wanted(self, code: int, restarts: int) -> bool:
        """Whether one is started again that ended by itself with that code, and was started again so often before."""
        if self.policy == "no" or (self.policy == "on-failure" and code == 0):
            return False
        return not self.most or restarts < self.most


def parse_restart(text: str) -> Restart:
    """`no`, `always`, `unless-stopped`, `on-failure` or `on-failure:N`. Raises `UsageError`."""
    policy, colon, most = text.partition(":")
    try:
        if policy not in _POLICIES or (colon and policy != "on-failure"):
            raise ValueError(text)
        return Restart(policy, whole_number(most) if colon else 0)
    except ValueError:
        raise UsageError(
            f"`{text}` is no restart policy", hint="one of no, on-failure[:N], always, unless-stopped"
        ) from None
