"""The process that forks sandboxes and what belongs to them, as these see it."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import os
import select

from buildkit_py.sandbox import syscalls

SIGKILL, SIG_SETMASK = 9, 2
SETUP_FAILED = 125


class Host:
    """What a sandbox inherits from the process that forks it.

    `parent` is a pidfd of that process; `interpreters` see `program`, once it was looked around.
    Compiled system call filters are kept by capability mask.
    """

    def __init__(self, parent: int) -> None:
        self.parent = parent
        self.interpreters: tuple[bytes, ...] = ()
        self._knows = False
        # 32 and 33 belong to the C library. Asked for here, once: it is 60 calls.
        self.handled = tuple([n for n in range(1, 65) if n not in (32, 33) and _signal.getsignal(n) != _signal.SIG_DFL])
        self._filters: dict[int, bytes] = {}

    def look_around(self) -> None:
        """Take note of what has to be known of this machine before the root changes."""
        if not self._knows:
            from buildkit_py.sandbox.program import host_interpreters

            self._knows = True
            self.interpreters = host_interpreters()

    def ready_filter(self, capabilities: int) -> bytes | None:
        """The filter for a bounding set if there is nothing left to compile. Raises `SetupFailure`."""
        if capabilities not in self._filters:
            from buildkit_py.sandbox.ready_filter import ready_filter

            program = ready_filter(capabilities)
            if program is None:
                return None
            self._filters[capabilities] = program
        return self._filters[capabilities]

    def compile_filter(self, capabilities: int) -> bytes:
        """The filter for a bounding set, kept for the next one like it."""
        from buildkit_py.sandbox.seccomp import compile_filter

        program = self._filters[capabilities] = compile_filter(capabilities)
        return program


def follow_parent(host: Host) -> None:
    """Ask to be killed with the parent. A change of user clears this, so it is asked for twice."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, SIGKILL)
    poll = select.poll()
    poll.register(host.parent, select.POLLIN)
    if poll.poll(0):
        os._exit(SETUP_FAILED)  # it died before the request
