"""Builds: a directory for what was seen of each build, its events and full logs; others write them."""

from __future__ import annotations

import os
import time

from buildkit_py.store.faults import store_error
from buildkit_py.store.sealed import read_regular
from buildkit_py.store.work import make_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.store.build_record import BuildRecord
    from buildkit_py.store.work import Work

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
# So many builds are known at most: enough for `why`, which looks at 50 of one file, and a second's work to read.
KEPT = 1000


class Builds:
    """`builds/` of a store. Methods raise `ValueError` for an id that is none, and `StoreError`."""

    def __init__(self, work: Work) -> None:
        self.dir = work.root + "/builds"
        self._work = work

    def create(self) -> tuple[str, str]:
        """A new, empty directory, as (id, path). Ids sort by time (UTC, milliseconds): `20260131-235959-417a9c`."""
        id = _when(time.time_ns()) + os.urandom(2).hex()[:3]
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

    def put(self, record: BuildRecord) -> None:
        """Keep what became of a build's steps, over what is there of it."""
        from buildkit_py.store.build_record import dump

        self._work.write(f"{self.path(record.id)}/record", dump(record))

    def get(self, id: str) -> BuildRecord | None:
        """What became of a build's steps; None where nothing is known of it."""
        from buildkit_py.store.build_record import load

        try:
            data = read_regular(f"{self.path(id)}/record")
        except ValueError:
            return None
        except OSError as problem:
            raise store_error(problem, self._work.root, "read what is known of a build") from problem
        record = load(data) if data is not None else None
        return record if record is not None and record.id == id else None

    def records(self) -> Iterator[BuildRecord]:
        """What is known of each build, newest first."""
        for id in self.all():
            record = self.get(id)
            if record is not None:
                yield record

    def log(self, id: str, step: str) -> bytes | None:
        """All that a step wrote in a build; None where it wrote nothing or did not run."""
        try:
            return read_regular(f"{self.path(id)}/step-{step}.log")
        except ValueError:
            return None
        except OSError as problem:
            raise store_error(problem, self._work.root, "read a log") from problem

    def service_logs(self, id: str, step: str) -> list[tuple[str, bytes]]:
        """What the services of a step wrote in a build, by their names."""
        begin, end = f"step-{step}.", ".log"
        found: list[tuple[str, bytes]] = []
        try:
            for name in sorted(os.listdir(self.path(id))):
                if name.startswith(begin) and name.endswith(end) and len(name) > len(begin + end):
                    found.append((name[len(begin) : -len(end)], read_regular(f"{self.path(id)}/{name}") or b""))
        except (ValueError, FileNotFoundError):
            return []
        except OSError as problem:
            raise store_error(problem, self._work.root, "read a log") from problem
        return found

    def forget_old(self, before: int, keep: int = KEPT) -> None:
        """Remove all builds but the newest so many, of those that began before a time (nanoseconds since 1970)."""
        limit = _when(before)
        for id in self.all()[keep:]:
            if id < limit:
                self.delete(id)

    def delete(self, id: str) -> bool:
        """Remove what was seen of a build; False if there was nothing."""
        return self._work.remove(self.path(id))


def _when(nanoseconds: int) -> str:
    """The beginning of the id of a build that began then."""
    milliseconds = nanoseconds // 1_000_000
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime(milliseconds // 1000)) + f"{milliseconds % 1000:03d}"
