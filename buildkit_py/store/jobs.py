"""Jobs: what a CI job said of its portable caches, and what its builds came to, from `ci restore` to `ci save`.

`jobs/HASH` is the job, `jobs/HASH.BUILD` the outcome of one of its builds, each sealed.
"""

from __future__ import annotations

import os

from buildkit_py.digest import key_of
from buildkit_py.record import Record
from buildkit_py.store.faults import store_error
from buildkit_py.store.sealed import read_regular, seal, unseal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from buildkit_py.store.work import Work

    Kind = TypeVar("Kind", bound=Record)

_FORMAT = 1


class Job(Record):
    """Where the job's builds read caches, and where it writes one, as plain values; `began` in seconds since 1970."""

    sources: tuple[tuple[Any, ...], ...]
    dest: tuple[Any, ...]
    began: int


class Outcome(Record):
    """What a build found or made: (definition key, snapshot) of steps, inputs first, and the keys of each one's inputs.

    `mounts` are the (name, key, id) of the cache mounts that it used. `compression` and `epoch` (None: no limit) say
    how its layers are packed. `ok`: nothing failed.
    """

    results: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, tuple[str, ...]], ...]
    mounts: tuple[tuple[str, str, str], ...]
    compression: str
    epoch: int | None
    ok: bool


def job_path(root: str, name: str) -> str:
    """Where the job of that name, any text, is or would be in the store at `root`."""
    return f"{root}/jobs/{key_of('job', name)}"


def read_job(root: str, name: str) -> Job | None:
    """The job of that name; None where none began, or it ended. Raises `StoreError`."""
    return _read(root, job_path(root, name), Job)


class Jobs:
    """`jobs/` of a store. Methods raise `StoreError`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def begin(self, name: str, job: Job) -> None:
        """A job begins, in place of what is there of an earlier one of its name."""
        self.end(name)
        self._work.write(job_path(self._work.root, name), seal((_FORMAT, *job.values())))

    def note(self, name: str, build: str, outcome: Outcome) -> None:
        """One of its builds ended."""
        self._work.write(f"{job_path(self._work.root, name)}.{build}", seal((_FORMAT, *outcome.values())))

    def outcomes(self, name: str) -> list[Outcome]:
        """What its builds came to, the first one first."""
        found = [_read(self._work.root, path, Outcome) for path in self._files(name) if "." in os.path.basename(path)]
        return [one for one in found if one is not None]

    def end(self, name: str) -> None:
        """Nothing is known of the job any more."""
        for path in self._files(name):
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue  # somebody pruned
            except OSError as problem:
                raise store_error(problem, self._work.root, "end a job") from problem

    def _files(self, name: str) -> list[str]:
        """Its files: the job's own first, then those of its builds by their ids, which sort by time."""
        where, _, own = job_path(self._work.root, name).rpartition("/")
        try:
            names = os.listdir(where)
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise store_error(problem, self._work.root, "look for a job") from problem
        return [f"{where}/{one}" for one in sorted(names) if one.partition(".")[0] == own]


def _read(root: str, path: str, kind: type[Kind]) -> Kind | None:
    try:
        data = read_regular(path)
        value: Any = unseal(data) if data is not None else None
    except ValueError:  # damaged
        return None
    except OSError as problem:
        raise store_error(problem, root, "read a job") from problem
    if not isinstance(value, tuple) or len(value) != len(kind.__fields__) + 1 or value[0] != _FORMAT:
        return None
    return kind(*value[1:])
