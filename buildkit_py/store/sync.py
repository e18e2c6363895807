"""Moving the mark of what is on the disk while a build goes on, by a process of its own.

syncfs(2) cannot be interrupted, and a process ends only when its last thread
has come out of the kernel: a thread that syncs a busy disk would keep a build
of 100 ms from ending for seconds. So a process does it that nobody waits for.
"""

from __future__ import annotations

import _thread
import os

from buildkit_py.store.background import begin

_PROGRAM = "from buildkit_py.store.store import Store; Store(sys.argv[1]).mark_synced()"


def mark_in_background(root: str) -> None:
    """Begin to move the mark of the store in `root`; it does no harm if that fails or is never finished."""
    _thread.start_new_thread(_mark, (root,))


def _mark(root: str) -> None:
    if pid := begin(_PROGRAM, root):
        try:
            os.waitpid(pid, 0)
        except OSError:
            pass  # somebody else waited for it
