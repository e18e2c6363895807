"""Builds: a directory for what was seen of each build, its events and full logs; others write them."""

from __future__ import annotations

import os
import time

from buildkit_py.store.faults import store_error
from buildkit_py.store.work import make_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.work import Work

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class Builds:
    """`builds/` of a store. Methods raise `ValueError` for an id that is none, and `StoreError`."""

    def __init__(self, work: Work) -> None:
        self.dir = work.root + "/builds"
        self._work = work

    def create(self) -> tuple[str, str]:
        """A new, empty directory, as (id, path). Ids sort by time (UTC): `20260131-235959-3f2a9c`."""
        id = time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + os.urandom(3).hex()
        path = self.path(id)
        try:
            make_dir(self.dir)
            os.mkdir(path, 0o700)
        except OSError as problem:
            raise store_error(problem, self._work.root, "make a directory for the build's logs") from problem
        return id, path

    def path(self, id: str) -> str:
        """Where a build's directory is or would be."""
        if not id or not _PLAIN.issuperset(id):
            raise ValueError(f"not a build id: {id!r}")
        return f"{self.dir}/{id}"

    def all(self) -> list[str]:
        """The ids of all builds, newest first."""
        try:
            return sorted((n for n in os.listdir(self.dir) if _PLAIN.issuperset(n)), reverse=True)
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise store_error(problem, self._work.root, "list the builds") from problem

    def delete(self, id: str) -> bool:
        """Remove what was seen of a build; False if there was nothing."""
        return self._work.remove(self.path(id))
