"""Performing Runs: each in a sandbox, as often as its policy allows, and what it wrote as a layer."""

from __future__ import annotations

import os
import time
from _thread import allocate_lock

from buildkit_py.errors import PybuildError, SandboxError, StepFailed
from buildkit_py.events import Notice, StepOutput, StepRetried, warning
from buildkit_py.executor import make_layer
from buildkit_py.executor.mending import Held, Mending
from buildkit_py.executor.output import Pump
from buildkit_py.executor.run_step import Running, is_full, limits_of, run_command, save_always
from buildkit_py.store.faults import store_error
from buildkit_py.store.work import make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.events import Emit
    from buildkit_py.executor.filesystems import Filesystems
    from buildkit_py.executor.run_place import Asked, Places, RunPlace
    from buildkit_py.executor.services import Beside, Surroundings
    from buildkit_py.executor.settings import Given, Settings
    from buildkit_py.graph.step import Step
    from buildkit_py.sandbox.launch import Launcher
    from buildkit_py.sandbox.spec import SandboxSpec
    from buildkit_py.store.store import Store


class Runs:
    """Those of one build. `compression` says of a step how its layer is packed while it is made."""

    def __init__(
        self,
        store: Store,
        places: Places,
        files: Filesystems,
        launcher: Callable[[], Launcher],
        emit: Emit,
        clock: Callable[[], float],
        given: Given,
        settings: Settings,
        compression: Callable[[Step], str],
    ) -> None:
        self.running = Running()
        self._store = store
        self._places = places
        self._files = files
        self._launcher = launcher
        self._emit = emit
        self._clock = clock
        self._gate = given.gate
        self._settings = settings
        self._compression = compression
        self._around: Surroundings | None = None
        self._lock = allocate_lock()
        self._failed: dict[tuple[Step, str, tuple[str, ...]], StepFailed] = {}
        self._held: dict[Step, Held] = {}

    def waiting(self, step: Step, what: str) -> Callable[[int], None]:
        """What to do while another process has what `step` needs: say so, once, and give up with the build."""
        told = False

        def waiting(process: int) -> None:
            nonlocal told
            if self.running.cancelled:
                raise StepFailed("the build was interrupted", code=130, at=step.position)
            if not told and process not in (0, os.getpid()):
                told = True
                self._emit(Notice("info", f"{what} by another build, process {process}: waiting"))

        return waiting

    def place(self, asked: Asked, step_id: str = "") -> RunPlace:
        """Where a Run runs; the caller releases it. Raises as `Places.open`."""
        return self._places.open(asked, step_id, self.waiting(asked.step, f"a cache of `{asked.step.name}` is in use"))

    def perform(self, asked: Asked, step_id: str) -> tuple[make_layer.NewLayer, str]:
        """Run it; the layer of what it wrote, and its captured output.

        Raises `StepFailed`, at once for what failed on the very same before: a build that looks for its results
        anew, because a layer of another step was lost, runs nothing twice.
        """
        same = (asked.step, asked.stands_on, asked.snapshots)
        if (known := self._failed.get(same)) is not None:
            raise known
        place = self.place(asked, step_id)
        try:
            attempts = asked.op.policy.retry + 1
            for attempt in range(1, attempts + 1):
                try:
                    return self._attempt(place, step_id, attempt, last=attempt == attempts)
                except StepFailed as problem:
                    if self.running.cancelled:
                        raise
                    if attempt == attempts:
                        self._failed[same] = problem
                        raise
                    why = problem.reason or f"exit code {problem.code}"
                    self._emit(StepRetried(step_id, attempt + 1, attempts, why, self._clock()))
            raise AssertionError("a step is attempted at least once")
        finally:
            place.release()

    def _attempt(self, place: RunPlace, step_id: str, attempt: int, *, last: bool) -> tuple[make_layer.NewLayer, str]:
        began = time.time_ns()
        with self._store.work_dir("run") as work:
            try:
                text = self._command_and_save(place, step_id, work.path, again=attempt > 1)
            except StepFailed as failed:
                if last and not self.running.cancelled:
                    self._put_aside(Held(place.asked, step_id, work), failed)
                raise
            if self._gate is not None:
                self._gate.look(
                    text, f"what `{place.asked.step.name}` printed for its file to take", place.asked.step.position
                )
            return self.layer(place.asked, work.path, began), text

    def _put_aside(self, held: Held, failed: StepFailed) -> None:
        """Hold what a step left that failed for good, or keep it. That this cannot be is a note of its failure."""
        if self._settings.mends:
            held.work.keep()
            self._held[held.asked.step] = held
            return
        try:
            self._keep(held)
        except PybuildError as problem:
            failed.notes = (*failed.notes, f"what the step left could not be kept: {problem.message}")

    def mending(self, step: Step) -> Mending | None:
        """A step that failed for good, to be mended, once; None where nothing is held of it."""
        held = self._held.pop(step, None)
        return Mending(self._store, self, held) if held is not None else None

    def again(self, held: Held, place: RunPlace) -> None:
        """Run the command once more, in what it and others left. Raises as `perform`."""
        self._command_and_save(place, held.step_id, held.work.path, again=True)

    def let_go(self, held: Held) -> None:
        """Keep what nobody is going to mend. That this cannot be is a warning: it takes the place of no failure."""
        try:
            try:
                self._keep(held)
            finally:
                held.work.discard()
        except PybuildError as problem:
            step = held.asked.step
            self._emit(warning(f"what `{step.name}` left could not be kept", problem, step.position))

    def close(self) -> None:
        """Let go of all that is still held."""
        while self._held:
            self.let_go(self._held.popitem()[1])

    def _keep(self, held: Held) -> None:
        """Let what a step left be kept for a later look, where that is wanted, and it is not what fills the disk.

        Raises `SecretLeaked` where a secret is in it, and what else keeps it from being kept.
        """
        upper = f"{held.work.path}/upper"
        if self._settings.keep_failed is None or not os.path.isdir(upper) or is_full(upper):
            return
        if self._gate is not None:
            from buildkit_py.image.overlay_diff import diff

            try:
                entries = diff(upper, hash_files=False)
            except OSError as problem:
                raise store_error(problem, self._store.root, "read what a failed step left") from problem
            self._gate.entries(entries, held.asked.step.position)
        self._settings.keep_failed(held.asked, upper)

    def _command_and_save(self, place: RunPlace, step_id: str, work: str, *, again: bool) -> str:
        """Run the command, and copy out what its `--save-always` names, whatever comes of it. Raises as `_command`, and
        what saving raises.
        """
        policy, step, roots = place.asked.op.policy, place.asked.step, (*place.roots, f"{work}/upper")
        try:
            text = self._command(place, step_id, work, again=again)
        except StepFailed as failed:
            if not self.running.cancelled:
                save_always(policy, step, roots, self._settings.save, failed)
            raise
        save_always(policy, step, roots, self._settings.save)
        return text

    def beside(self, step: Step, step_id: str, *, append: bool = False, shown: bool = True) -> Beside:
        """What runs services beside a step."""
        from buildkit_py.executor.services import Beside, Surroundings

        with self._lock:
            if self._around is None:
                self._around = Surroundings(
                    self._store,
                    self._launcher,
                    self.running,
                    self._emit,
                    self._clock,
                    self._gate,
                    self._settings.log_dir,
                    self._places.networks.plan,
                )
        return Beside(self._around, step, step_id, append=append, shown=shown)

    def _command(self, place: RunPlace, step_id: str, work: str, *, again: bool) -> str:
        """Run the command in a sandbox over `work`, with its services; its captured output. Raises `StepFailed`."""
        spec = place.sandbox(work)
        seeds = place.asked.op.seeds
        if not place.services and seeds is None:
            return self._run(place, step_id, spec, again=again)
        with self.beside(place.asked.step, step_id, append=again) as beside:
            spec = beside.surround(place.services, spec)
            if seeds is None:
                return self._run(place, step_id, spec, again=again)
            from buildkit_py.executor.services import container_spec
            from buildkit_py.executor.started_service import ENDING, KILLED
            from buildkit_py.sandbox.signal_number import signal_number

            started = beside.start(seeds, container_spec(seeds, spec))
            text = ""
            if spec.argv:
                inside = started.spec_for(spec.argv)
                try:
                    text = self._run(place, step_id, inside, again=again, inside=started.pidfd)
                except SandboxError:
                    started.refuse_end(ENDING)  # where nothing can be run any more
                    raise
                except StepFailed as failed:
                    if failed.code == KILLED:
                        started.refuse_end(ENDING)  # with which all in it are killed
                    raise
            started.stop(signal_number(seeds.stop_signal))
            return text

    def _run(self, place: RunPlace, step_id: str, spec: SandboxSpec, *, again: bool, inside: int = -1) -> str:
        """Run a command in a sandbox of its own, or in the one that the pidfd `inside` is of; its captured output.

        Raises `StepFailed`.
        """
        asked = place.asked
        limits = limits_of(asked.op.policy, asked.step)
        if limits is not None:
            spec = spec.replace(cgroups=limits.directories)

        def line(stream: int, text: str) -> None:
            self._emit(StepOutput(step_id, stream, text, self._clock()))

        mask = self._gate.mask if self._gate is not None else None
        packed_as = self._compression(asked.step)
        pump = Pump(
            line, f"{self._settings.log_dir}/step-{step_id}.log", capture=asked.op.capture, append=again, mask=mask
        )
        try:
            run_command(
                self._launcher(),
                self.running,
                spec,
                pump,
                asked.step,
                step_id,
                asked.op.policy,
                limits,
                inside,
                None if packed_as == "none" else lambda: make_layer.load_packing(packed_as),
            )
        finally:
            if limits is not None:
                limits.remove()
            if self._gate is not None:
                self._gate.masked(pump.masked, asked.step.position)
        return pump.text

    def layer(self, asked: Asked, work: str, began: int = 0) -> make_layer.NewLayer:
        """What was written since `began` (`from_directory`), as a layer. Raises `SecretLeaked`."""
        upper, below, gate = f"{work}/upper", asked.stands_on, self._gate
        if asked.op.test:
            upper = f"{work}/nothing"
            make_root(upper)
        elif asked.op.inputs:
            from buildkit_py.executor.restack import merge_new_directories

            merge_new_directories(upper, self._files.union(below))
        look = (lambda entries: gate.entries(entries, asked.step.position)) if gate is not None else None
        return make_layer.from_directory(
            self._store,
            below,
            upper,
            impure=self._files.is_impure(below),
            compression=self._compression(asked.step),
            look=look,
            began=began,
        )
