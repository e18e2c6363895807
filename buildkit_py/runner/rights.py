"""What a container may do and use beyond its image: capabilities and resource limits that can be had here."""

from __future__ import annotations

import os

from buildkit_py.errors import UsageError
from buildkit_py.sandbox import syscalls, ulimits
from buildkit_py.sandbox.capabilities import ALL, NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_MEMORY = 6 << 20
"""docker's; what sets up the container has to fit in, too."""


_SO_ANYWAY = {("apparmor", "unconfined"), ("label", "disable")}  # no profile and no label is ever set


def capabilities(usual: int, add: int, drop: int) -> int:
    """The bit mask of what a container has, by docker's rule: ALL among the dropped ones leaves those that are added,
    ALL among the added ones is all but the dropped ones, else what is added wins.

    Raises `UsageError` for what contradicts itself, and for what pybuild does not have itself.
    """
    if add == drop == ALL:
        raise UsageError("all capabilities are to be added and dropped", hint="leave one of the two out")
    if add == ALL:
        return ALL & ~drop
    # Root can give nobody what it was not left itself; an ordinary user has all in a namespace of their own.
    if os.geteuid() == 0 and (lacking := add & ~syscalls.permitted_capabilities()):
        names = ", ".join([name for number, name in enumerate(NAMES) if lacking >> number & 1])
        raise UsageError(
            f"pybuild itself does not have {names} here",
            hint="what started it kept that back, as a container or a unit of systemd does",
        )
    return usual & ~drop | add


def security(options: Sequence[str], what: str) -> tuple[bool, bool]:
    """Whether no program gets new privileges, and whether system calls are filtered, by docker's security options.

    `what` stands before an option in the message. Raises `UsageError` for one that is not understood.
    """
    no_new_privileges, seccomp = False, True
    for text in options:
        name, _, value = text.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges" and value in ("", "true", "false"):
            no_new_privileges = value != "false"
        elif (name, value) in (("seccomp", "unconfined"), ("seccomp", "builtin")):
            seccomp = value == "builtin"
        elif (name, value) not in _SO_ANYWAY:
            raise UsageError(
                f"`{what}{text}` is not understood",
                hint="it takes `no-new-privileges`, `seccomp=unconfined` and `seccomp=builtin`",
            )
    return no_new_privileges, seccomp


def check_ulimit(name: str, hard: int) -> None:
    """Raise `UsageError` for a limit that is above what this process has itself."""
    most = ulimits.highest(name)
    if hard > most:
        raise UsageError(
            f"the limit `{name}` is above the hard limit here, {most}",
            hint="raise that of pybuild first: `ulimit -H` in the shell, LimitNOFILE= and the like of systemd",
        )
