"""A background process: work on a store that goes on after the process that began it, and that nobody waits for."""

from __future__ import annotations

import os
import sys

# The interpreter is started bare, and told where the modules are.
_START = "import sys; sys.path[:] = sys.argv[{first}:]; "


def begin(program: str, *arguments: str) -> int:
    """Run `program`, Python that finds `arguments` in `sys.argv[1:]`; its process id, or 0 where none can be had.

    Whoever begins it may be gone before it is: what it does must do no harm
    if it fails or is never finished.
    """
    start = _START.format(first=len(arguments) + 1)
    argv = [sys.executable, "-I", "-S", "-c", start + program, *arguments, *sys.path]
    # A session of its own, so that Ctrl-C leaves it alone; and none of our pipes, whose readers wait for their end.
    actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    env = {name: value for name in ("PATH", "HOME") if (value := os.environ.get(name)) is not None}
    try:
        return os.posix_spawn(sys.executable, argv, env, file_actions=actions, setsid=True)
    except (OSError, NotImplementedError):  # no memory, or a system that cannot give it a session of its own
        return 0
