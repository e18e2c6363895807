"""Volumes: directories with a name that containers mount, and that nothing removes but `pybuild volume rm`.

    data/    the files
    meta     sealed: when it was made, in seconds since 1970
    lock     held shared by each container that has it mounted

Each is a directory `volumes/NAME/`. Making and removing them is for one process at a time.
"""

from __future__ import annotations

import os
import time

from buildkit_py.errors import UsageError
from buildkit_py.record import Record
from buildkit_py.store.containers import is_name
from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import InUse, Lock
from buildkit_py.store.sealed import read_regular, seal, unseal
from buildkit_py.store.work import make_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.store.work import Work


class Volume(Record):
    """A volume: its name, the directory of its files, and when it was made (0.0 where that was lost)."""

    name: str
    path: str
    created: float


class Volumes:
    """`volumes/` of a store. Methods raise `StoreError`."""

    def __init__(self, work: Work) -> None:
        self.dir = work.root + "/volumes"
        self._work = work

    def hold(self, name: str, fill: Callable[[str], None] | None = None) -> InUse:
        """The directory of a volume's files; the volume stays until it is released.

        One that is not there is made: `fill` gets its empty directory; without `fill` that is a `UsageError`, as is a
        name that is none. Raises what `fill` raises.
        """
        home = self._home(name)
        with self._alone():
            if not os.path.isdir(home + "/data"):
                if fill is None:
                    raise UsageError(f"the volume `{name}` is not there any more")
                self._make(home, fill)
            lock = Lock(home + "/lock", shared=True, keep=True)
            lock.acquire()
        return InUse(home + "/data", lock)

    def all(self) -> list[Volume]:
        """All that are there, by name."""
        try:
            names = os.listdir(self.dir)
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise store_error(problem, self._work.root, "list the volumes") from problem
        return [Volume(name, f"{self.dir}/{name}/data", self._created(name)) for name in sorted(names)]

    def remove(self, name: str, check: Callable[[], object]) -> None:
        """Remove a volume with its files. `check` is called when nobody can begin to use it, and may raise to keep it.

        Raises `UsageError` where there is none, or a container has it mounted.
        """
        home = self._home(name)
        with self._alone():
            if not os.path.isdir(home):
                raise UsageError(f"there is no volume `{name}`", hint="`pybuild volume ls` lists them")
            lock = Lock(home + "/lock", keep=True)
            if not lock.acquire(wait=False):
                raise UsageError(f"the volume `{name}` is in use", hint="stop the container that has it")
            try:
                check()
                self._work.remove(home)
            finally:
                lock.release()

    def _make(self, home: str, fill: Callable[[str], None]) -> None:
        staged = self._work.scratch_name()
        try:
            for path in (staged, staged + "/data"):
                os.mkdir(path, 0o700)
            os.chmod(staged + "/data", 0o755)
            fill(staged + "/data")
            self._work.write(staged + "/meta", seal(time.time()))
            make_dir(self.dir)
            os.rename(staged, home)
        except OSError as problem:
            raise store_error(problem, self._work.root, "make a volume") from problem

    def _alone(self) -> Lock:
        return Lock(f"{self._work.root}/locks/volumes")

    def _home(self, name: str) -> str:
        if not is_name(name):
            raise UsageError(
                f"`{name}` cannot be the name of a volume",
                hint="a name holds letters, digits, `_`, `.` and `-`, and begins with a letter or a digit",
            )
        return f"{self.dir}/{name}"

    def _created(self, name: str) -> float:
        try:
            data = read_regular(f"{self.dir}/{name}/meta")
            found = unseal(data) if data is not None else 0.0
        except (ValueError, OSError):
            return 0.0
        return found if isinstance(found, float) else 0.0
