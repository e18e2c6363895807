"""`--on-error=shell`: a shell in the place and the files of a step that failed, from which the build can go on."""

from __future__ import annotations

from contextlib import ExitStack

from buildkit_py.errors import PybuildError, StepFailed
from buildkit_py.events import Notice, ShellClosed, ShellOpened
from buildkit_py.executor.result import Made

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.session import Session
    from buildkit_py.events import Emit
    from buildkit_py.executor.local import LocalExecutor
    from buildkit_py.executor.mending import Mending
    from buildkit_py.graph.step import Step

RETRY, COMMIT = "retry", "commit"


class ShellOnError:
    """Mends the steps of one executor. Only for the main thread, and for standard streams that are a terminal.

    What comes of it is never what the step's inputs give: its files were changed by hand, and a command that runs
    again finds what it left the first time.
    """

    def __init__(self, session: Session, executor: LocalExecutor, emit: Emit) -> None:
        self._session = session
        self._executor = executor
        self._emit = emit
        self._made: dict[Step, Made] = {}

    def mend(self, step: Step, problem: StepFailed) -> Made | PybuildError:
        """The result of a step that a person repaired, else the failure that the build is to end with."""
        if step in self._made:  # the build looks for its results anew, for a layer of another step was lost
            return self._made[step]
        mending = self._executor.runs.mending(step)
        if mending is None:
            return problem
        try:
            with mending:
                made = self._talk(mending, problem)
        except PybuildError as other:
            return other
        if isinstance(made, Made):
            self._made[step] = made
            self._emit(
                Notice(
                    "warning",
                    f"`{step.name}` was repaired by hand: its result is of this build only, and is not written out",
                    step.position,
                    hint="`pybuild why` shows what stands on it",
                )
            )
        return made

    def close(self) -> None:
        """Nothing is mended any more."""
        self._executor.runs.close()

    def _talk(self, mending: Mending, problem: StepFailed) -> Made | StepFailed:
        """Open the shell, and do what is said in it, until it is left or the step has a result."""
        words = (RETRY,) if mending.asked.op.test else (RETRY, COMMIT)
        tail, said = problem.tail, ""
        try:
            while True:
                self._emit(ShellOpened(mending.step_id, problem.message, tail, words, self._session.clock()))
                try:
                    said = self._shell(mending, words)
                except PybuildError as other:
                    problem.notes = (*problem.notes, f"no shell could be opened: {other.message}")
                    problem.hint = problem.hint or other.hint
                if not said:
                    return problem
                try:
                    if said == RETRY:
                        mending.retry()
                    return mending.result()
                except StepFailed as again:
                    if self._executor.runs.running.cancelled:
                        raise
                    problem, tail, said = again, (), ""  # what it wrote was just seen
        finally:
            self._emit(ShellClosed(mending.step_id, said, self._session.clock()))

    def _shell(self, mending: Mending, words: tuple[str, ...]) -> str:
        """Run a shell to its end; the word that was said in it, "" for none."""
        from buildkit_py.runner.foreground import run_in_foreground
        from buildkit_py.runner.shell_kit import ShellKit

        with self._session.store.work_dir("shell") as work, ExitStack() as held:
            kit = ShellKit(f"{work.path}/kit", mending.roots, words)
            try:
                spec = mending.sandbox()
                if mending.place.services:
                    runs = self._executor.runs
                    beside = held.enter_context(runs.beside(mending.asked.step, mending.step_id, shown=False))
                    spec = beside.surround_shell(mending.place.services, spec)
                run_in_foreground(self._session.launcher().spawn, kit.equip(spec), kit, interactive=True)
            finally:
                kit.close()
        return kit.said
