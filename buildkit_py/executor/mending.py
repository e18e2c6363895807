"""Mending: a Run that failed for good, with its files as it left them, to look into, to run in again, or to take."""

from __future__ import annotations

import time

from buildkit_py.executor.result import Made, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from buildkit_py.executor.run_place import Asked, RunPlace
    from buildkit_py.executor.runs import Runs
    from buildkit_py.sandbox.spec import SandboxSpec
    from buildkit_py.store.store import Store
    from buildkit_py.store.work import WorkDir


class Held:
    """What is held of a Run that failed: its directory with what it wrote, and when it began to be worked on.

    Not its mounts: another step may wait for a cache that it has.
    """

    def __init__(self, asked: Asked, step_id: str, work: WorkDir) -> None:
        self.asked = asked
        self.step_id = step_id
        self.work = work
        self.began = time.monotonic()


class Mending:
    """A context manager that has the step's mounts again. At its end what was not asked for as a result is kept as what
    the step left, if that is wanted. Raises as `Places.open`.
    """

    def __init__(self, store: Store, runs: Runs, held: Held) -> None:
        self.asked = held.asked
        self.step_id = held.step_id
        self._store = store
        self._runs = runs
        self._held = held
        self._place: RunPlace | None = None
        self._taken = False

    def __enter__(self) -> Self:
        try:
            self._place = self._runs.place(self.asked, self.step_id)
        except BaseException:
            self._put_away()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.place.release()
        finally:
            self._put_away()

    @property
    def place(self) -> RunPlace:
        """Where the step runs."""
        assert self._place is not None
        return self._place

    @property
    def roots(self) -> tuple[str, ...]:
        """The directories that together show the files as they are now, lowest first."""
        return (*self.place.roots, f"{self._held.work.path}/upper")

    def sandbox(self) -> SandboxSpec:
        """The step's own sandbox, for another command. What it writes stays."""
        return self.place.sandbox(self._held.work.path)

    def retry(self) -> None:
        """Run the step again in the files as they are. Raises `StepFailed` again, and what `--save-always` raises."""
        self._runs.again(self._held, self.place)

    def result(self) -> Made:
        """Take the files as they are for what the step gives. The last thing to be asked for."""
        self._taken = True  # also where it is refused: nothing of a step with a secret in its files is kept
        new = self._runs.layer(self.asked, self._held.work.path)
        result = Result(self._store.snapshots.push(self.asked.below, new.id), new.id)
        return Made(result, time.monotonic() - self._held.began, new.bytes)

    def _put_away(self) -> None:
        if self._taken:
            self._held.work.discard()
        else:
            self._runs.let_go(self._held)
