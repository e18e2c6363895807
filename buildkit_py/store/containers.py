"""Containers: what runs in the background or ran there, each a directory `containers/ID/` until it is removed.

    about           sealed About: what it is, which never changes
    state           sealed State: how it fares, written by its supervisor alone, by way of state.new
    lock            held by the supervisor for its life, and by who copies from a container that does not run
    control         the supervisor's socket
    log, log.1      what it wrote, and the part before that
    upper/, work/   its writable layer

The lock tells the living from the dead: a supervisor that was killed, or went down with the machine, wrote no last
state. The layers of each are kept for as long as it is there (`gc.py`).
"""

from __future__ import annotations

import os
import time

from buildkit_py.digest import is_hex
from buildkit_py.errors import StoreError, UsageError
from buildkit_py.record import Record
from buildkit_py.store.boot import boot_id
from buildkit_py.store.faults import store_error
from buildkit_py.store.locks import Lock
from buildkit_py.store.sealed import read_regular, seal, unseal
from buildkit_py.store.work import make_dir, make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.store.work import Work

RUNNING, RESTARTING, EXITED, CREATED = "running", "restarting", "exited", "created"
_ALIVE = (RUNNING, RESTARTING)
_DAMAGED = "its state is damaged"
_PAUSE = 0.001
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class About(Record):
    """What a container is. `id` is 64 hex digits; `layers` lowest first; `created` in seconds since 1970.

    `what` and `command` are for people; `body` is what the runner makes a sandbox of, plain values.
    """

    id: str
    name: str
    what: str
    command: tuple[str, ...]
    layers: tuple[str, ...]
    created: float
    body: dict[str, Any]


class State(Record):
    """How a container fares. `status` is one of the four above; times in seconds since 1970, 0 for not yet.

    `code` is that of its last end, `problem` why it could not start or how it was lost; `boot` the boot of the machine
    in which this was written. `cgroups` are the control groups that limit it while it runs, and `ports` those of this
    machine at which it is reached then, each (address, port, port of the container, protocol). `health` are the values
    of a `runner.health.Health`, () where nobody checks it.
    """

    status: str = CREATED
    started: float = 0.0
    finished: float = 0.0
    code: int = 0
    restarts: int = 0
    problem: str = ""
    boot: str = ""
    cgroups: tuple[str, ...] = ()
    health: tuple[Any, ...] = ()
    ports: tuple[tuple[str, int, int, str], ...] = ()


class Containers:
    """`containers/` of a store. Methods raise `StoreError`."""

    def __init__(self, work: Work) -> None:
        self.dir = work.root + "/containers"
        self._work = work
        self._seen: dict[str, About] = {}  # by id: what a container is never changes

    def create(self, about: About) -> str:
        """Make one that has not run yet; its directory. Raises as `check_name`."""
        with Lock(f"{self._work.root}/locks/containers"):
            self.check_name(about.name)
            staged = self._work.scratch_name()
            try:
                for path in (staged, staged + "/work"):
                    os.mkdir(path, 0o700)
                make_root(staged + "/upper")
                self._work.write(staged + "/about", seal(about.values()))
                self._work.write(staged + "/state", seal(State(boot=boot_id()).values()))
                make_dir(self.dir)
                os.rename(staged, self.path(about.id))
            except OSError as problem:
                raise store_error(problem, self._work.root, "make a container") from problem
        return self.path(about.id)

    def check_name(self, name: str) -> None:
        """Raise `UsageError` for a name that is none, or is taken now."""
        if not is_name(name):
            raise UsageError(
                f"`{name}` cannot be the name of a container",
                hint="a name holds letters, digits, `_`, `.` and `-`, and begins with a letter or a digit",
            )
        for other in self.all():
            if other.name == name:
                raise UsageError(
                    f"the container {other.id[:12]} has the name `{name}`",
                    hint=f"take another one, or `pybuild rm {name}` first",
                )

    def path(self, id: str) -> str:
        """Where a container is. Raises `ValueError` for an id that is none."""
        if not is_hex(id):
            raise ValueError(f"not the id of a container: {id!r}")
        return f"{self.dir}/{id}"

    def all(self) -> list[About]:
        """All that are there, newest first. One whose description is damaged has the beginning of its id as name."""
        try:
            names = os.listdir(self.dir)
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise store_error(problem, self._work.root, "list the containers") from problem
        found = [self._seen.get(name) or self._look(name) for name in names if is_hex(name)]
        return sorted(found, key=lambda about: (-about.created, about.id))

    def _look(self, id: str) -> About:
        about = self.about(id)
        if about is None:
            return _damaged(id)
        self._seen[id] = about
        return about

    def about(self, id: str) -> About | None:
        """What a container is; None where there is none, or its description is damaged."""
        values = self._read(id, "about")
        try:
            return About(*values) if values is not None else None
        except TypeError:
            return None

    def state(self, id: str) -> State:
        """How a container fares. One that its supervisor left as running, and left, has ended."""
        state = self._state(id)
        if state.status in _ALIVE and not self.is_supervised(id):
            state = self._state(id)  # what a supervisor writes last it writes before it leaves
            if state.status in _ALIVE:
                return _lost(state)
        return state

    def note_lost(self, id: str) -> None:
        """Write down the end of one whose supervisor was killed: for who has taken it and is no supervisor, for whom
        it would seem to run.
        """
        state = self._state(id)
        if state.status in _ALIVE:
            self.set_state(id, _lost(state))

    def _state(self, id: str) -> State:
        values = self._read(id, "state")
        try:
            return State(*values) if values is not None else State(problem=_DAMAGED)
        except TypeError:
            return State(problem=_DAMAGED)

    def set_state(self, id: str, state: State) -> None:
        """Note how a container fares; for who has taken it."""
        self._work.write_beside(self.path(id) + "/state", seal(state.replace(boot=boot_id()).values()))

    def take(self, id: str) -> Lock | None:
        """Have a container for oneself, until the lock is released; None where a supervisor has it, or a copy of it.

        Raises `StoreError`, also where the container is not there any more.
        """
        lock = Lock(self.path(id) + "/lock", keep=True)
        while not lock.acquire(wait=False):
            if self.is_supervised(id):
                return None
            time.sleep(_PAUSE)  # somebody looked at just this moment
        return lock

    def taken(self, id: str, hint: str = "") -> UsageError:
        """The error for a container that `take` does not give; `hint` is for one that runs."""
        about = self.about(id) or _damaged(id)
        if self.state(id).status in _ALIVE:
            return UsageError(f"the container `{about.name}` is running", hint=hint)
        return UsageError(
            f"the container `{about.name}` is just being started, copied from or committed",
            hint="try again when that is done",
        )

    def is_supervised(self, id: str) -> bool:
        """Whether a supervisor lives. To look takes the lock for a moment, which `take` bears."""
        lock = Lock(self.path(id) + "/lock", shared=True, keep=True)
        try:
            taken = lock.acquire(wait=False)
        except StoreError as problem:
            # Removed just then; that one of its id is there again since says nothing of the one that was asked for.
            if isinstance(problem.__cause__, FileNotFoundError) or not self.is_there(id):
                return False
            raise
        lock.release()
        return not taken

    def is_there(self, id: str) -> bool:
        """Whether it was not removed."""
        return os.path.isdir(self.path(id))

    def find(self, text: str) -> About:
        """The container of a name, an id, or the beginning of one id alone. Raises `UsageError`."""
        if is_hex(text) and (whole := self.about(text)) is not None:
            return whole
        every = self.all()
        for about in every:
            if text in (about.name, about.id):
                return about
        found = [about for about in every if text and about.id.startswith(text)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(about.name for about in found)
            raise UsageError(f"`{text}` may be the container {names}", hint="give more of its id, or its name")
        raise UsageError(f"there is no container `{text}`", hint="`pybuild ps -a` lists them")

    def delete(self, id: str) -> bool:
        """Remove a container that nobody has; False if there was none. Raises `UsageError` where somebody has it."""
        try:
            lock = self.take(id)
        except StoreError:
            if not self.is_there(id):
                return False
            raise
        if lock is None:
            raise self.taken(id, "`pybuild stop` it, or `pybuild rm -f`")
        try:
            return self._work.remove(self.path(id))
        finally:
            lock.release()

    def _read(self, id: str, name: str) -> Any:
        try:
            data = read_regular(f"{self.path(id)}/{name}")
            return unseal(data) if data is not None else None
        except ValueError:
            return None
        except OSError as problem:
            raise store_error(problem, self._work.root, "read a container") from problem


def _lost(state: State) -> State:
    """How one fares that its supervisor left as running."""
    lost = "its supervisor was killed" if state.boot == boot_id() else "the machine went down"
    return state.replace(status=EXITED, code=137, problem=lost, ports=())


def _damaged(id: str) -> About:
    """For one of which only its directory is left, so that it can be removed."""
    return About(id, id[:12], "(its description is damaged)", (), (), 0.0, {})


def is_name(text: str) -> bool:
    """Whether a text can be the name of a container or a volume, which is never a path."""
    return bool(text) and _NAME.issuperset(text) and text[0] not in "_.-"
