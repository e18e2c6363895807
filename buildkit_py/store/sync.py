"""Moving the mark of what is on the disk while a build goes on, by a process of its own.

syncfs(2) cannot be interrupted, and a process ends only when its last thread
has come out of the kernel: a thread that syncs a busy disk would keep a build
of 100 ms from ending for seconds. So a process does it that nobody waits for.
"""

from __future__ import annotations

import _thread
import os
import sys

# The interpreter is started bare, and told where the modules are.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:]; from buildkit_py.store.store import Store; "
    "Store(sys.argv[1]).mark_synced()"
)


def mark_in_background(root: str) -> None:
    """Begin to move the mark of the store in `root`; it does no harm if that fails or is never finished."""
    _thread.start_new_thread(_mark, (root,))


def _mark(root: str) -> None:
    arguments = [sys.executable, "-I", "-S", "-c", _PROGRAM, root, *sys.path]
    # Its own session, so that Ctrl-C leaves it alone; and none of our pipes, whose readers wait for their end.
    actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    try:
        pid = os.posix_spawn(sys.executable, arguments, {}, file_actions=actions, setsid=True)
        os.waitpid(pid, 0)
    except (OSError, NotImplementedError):
        pass  # another build will try
