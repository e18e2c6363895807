"""What a user without ids of others cannot keep of an image's files: said once in a build, and not passed over."""

from __future__ import annotations

from _thread import allocate_lock

from buildkit_py.events import Notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.events import Emit
    from buildkit_py.sandbox.userns import Identity
    from buildkit_py.store.layers import TreeLoss


class Losses:
    """Hears of trees that lack something, from any thread. `told` is called before the first notice."""

    def __init__(self, identity: Identity, emit: Emit, told: Callable[[], object]) -> None:
        self._identity = identity
        self._emit = emit
        self._told = told
        self._said: set[str] = set()
        self._lock = allocate_lock()

    def heard(self, loss: TreeLoss) -> None:
        """A tree that is used in this build lacks this."""
        if loss.owners:
            reason, _, fix = self._identity.why.partition(": ")
            self._say(f"files of other owners belong to root in this build: {reason}", fix)
        if loss.devices:
            self._say("device files of an image are left out, for only root can make them", "")

    def _say(self, message: str, hint: str) -> None:
        with self._lock:
            new = message not in self._said
            self._said.add(message)
        if new:
            self._told()
            self._emit(Notice("warning", message, hint=hint))
