"""Faults: which of our errors an `OSError` inside the store is, said so that a person can act on it."""

from __future__ import annotations

import errno
import os

from buildkit_py.errors import DiskFull, StoreError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EPERM, errno.EACCES)


def store_error(problem: OSError, root: str, doing: str) -> StoreError:
    """The error to raise in place of `problem`, which happened while `doing` (a phrase like "write a blob").

    A full disk or quota becomes `DiskFull`, everything else a `StoreError`.
    """
    if problem.errno in _FULL:
        return DiskFull(
            f"no space left in the store: cannot {doing}",
            at=root,
            hint="free some with `pybuild cache prune`, or put the store on a larger disk with PYBUILD_HOME",
        )
    reason = os.strerror(problem.errno) if problem.errno else str(problem)
    place = problem.filename if isinstance(problem.filename, str) else root
    hint = ""
    if problem.errno == errno.EROFS:
        hint = "the store is on a read-only filesystem; set PYBUILD_HOME to a writable directory"
    elif problem.errno in _FORBIDDEN:
        hint = (
            "something in the store is immutable (`lsattr`), belongs to another user, or was made in a user "
            "namespace that this process is not in"
        )
    elif problem.errno in (errno.EMFILE, errno.ENFILE):
        hint = "raise the limit on open files (`ulimit -n`) or build with fewer jobs (`-j`)"
    return StoreError(f"cannot {doing}: {reason}", at=place, hint=hint)
