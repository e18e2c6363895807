"""Building: a request in, targets built, images made and written out."""

from __future__ import annotations

import os
import time
from itertools import count

from buildkit_py.api.request import BuildResult, TargetResult, TargetSummary
from buildkit_py.api.session import Session
from buildkit_py.api.witness import Witness
from buildkit_py.errors import PybuildError, StepFailed
from buildkit_py.events import BuildFinished, BuildStarted, Exported, Notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.api.on_error import ShellOnError
    from buildkit_py.api.pins import ImagePins
    from buildkit_py.api.portable import PortableCaches
    from buildkit_py.api.record_build import Recorder
    from buildkit_py.api.request import BuildRequest
    from buildkit_py.api.write_out import WriteOut
    from buildkit_py.events import Emit
    from buildkit_py.executor.local import LocalExecutor
    from buildkit_py.executor.pack_layers import Packer
    from buildkit_py.executor.result import Result
    from buildkit_py.executor.run_place import Asked
    from buildkit_py.executor.settings import Given
    from buildkit_py.frontend.target import Target
    from buildkit_py.graph.step import Step
    from buildkit_py.solver.solve import Solution, Solver

TOOL = "pybuild 0.1"


def outline(file: str) -> tuple[TargetSummary, ...]:
    """What `--list` shows of a file. Raises `BuildfileError`."""
    from buildkit_py.api.targets import outline as file_outline

    return file_outline(file)


def build(request: BuildRequest, emit: Emit, witness: Witness | None = None) -> BuildResult:
    """Build what is asked for. Raises the first failure; further ones are in its `notes`.

    `witness` takes down everything that was looked at, for the first tier.
    """
    witness = witness if witness is not None else Witness()
    _witness_surroundings(witness)
    with Session(
        request.store, sandboxes=not request.dry_run, offline=request.offline, cache_max=request.cache_max
    ) as session:
        return Build(request, session, emit, witness).run()


def rebuild(request: BuildRequest, targets: tuple[Target, ...], emit: Emit, witness: Witness) -> BuildResult:
    """Build targets again that an earlier build lowered, whose Buildfile and all else it looked at are unchanged."""
    _witness_surroundings(witness)
    with Session(request.store, sandboxes=True, offline=request.offline, cache_max=request.cache_max) as session:
        return Build(request, session, emit, witness).run(targets)


def _witness_surroundings(witness: Witness) -> None:
    """What decides besides the request and the Buildfile: the configuration, and this pybuild itself."""
    import buildkit_py
    from buildkit_py.config import config_file

    witness.file(config_file(os.environ))
    witness.file(buildkit_py.__file__)


class Build:
    """One build: the parts wired together."""

    def __init__(self, request: BuildRequest, session: Session, emit: Emit, witness: Witness) -> None:
        # After the session's beginning, which starts the process that sandboxes come from: both load side by side.
        from buildkit_py.api.given_secrets import GivenSecrets
        from buildkit_py.api.ssh_agents import SshAgents
        from buildkit_py.api.write_out import PACKED_AS, pushes, wants_image

        self.request = request
        self.session = session
        self.emit = emit
        self.witness = witness
        self.epoch = request.epoch if request.epoch is not None else (0 if request.reproducible else None)
        self.compression = PACKED_AS[request.compression or session.config.compression]
        self.ran = self.cached = 0
        self.numbers = count(1)  # of steps, and so of their logs: those that a Buildfile.py asks for come first
        self.recorder: Recorder | None = None
        self.secrets = GivenSecrets(request, emit)
        self.agents = SshAgents(request.ssh)
        # A push waits for the tests of what it pushes.
        self.testing = request.test or (not request.no_test and pushes(request.outputs))
        self.lost: set[str] = set()  # layers that were given up once: not twice
        self.packer: Packer | None = None  # of the images' layers, where there are images
        self.cache_packer: Packer | None = None  # of the layers that a portable cache keeps; the same where both are
        self.last_solver: Solver | None = None  # of the targets
        self.on_error: ShellOnError | None = None
        self.executors: list[LocalExecutor] = []
        self.caches: PortableCaches | None = None
        if request.cache_from or request.cache_to:
            from buildkit_py.api.portable import PortableCaches

            self.caches = PortableCaches(request, session, emit)
        self.makes_images = bool(
            request.tags
            or request.iidfile
            or request.metadata_file
            or request.limits.any
            or wants_image(request.outputs)
        )

    def run(self, targets: tuple[Target, ...] = ()) -> BuildResult:
        """Build, and leave a record of it whatever comes of it."""
        from buildkit_py.api.record_build import Recorder
        from buildkit_py.solver.store_cache import made_anew

        self.witness.file(made_anew(self.session.store))
        build_id, log_dir = self.session.store.builds.create()
        recorder = self.recorder = Recorder(build_id, self.request, TOOL, time.time(), self.session.store)
        state = "interrupted"
        try:
            result = self._run(targets, build_id, log_dir, recorder)
            failed = result.failures or any(test.state != "PASSED" for test in result.tests)
            state = "failed" if failed else "done"
            return result
        except PybuildError:
            state = "failed"
            raise
        finally:
            if self.on_error is not None:
                self.on_error.close()
            self.agents.close()
            if self.caches is not None:
                self.caches.stop()
            if self.request.dry_run:
                self.session.store.builds.delete(build_id)
            else:
                self._record(recorder, state)
                self._tell_job(build_id, recorder, state)

    def _record(self, recorder: Recorder, state: str) -> None:
        """Nothing but an explanation is lost where this cannot be written: no reason to fail."""
        try:
            store = self.session.store
            store.builds.put(recorder.record(state, self.session.clock()))
            store.builds.forget_old(store.leases.oldest(time.time_ns()))
        except PybuildError as problem:
            self.emit(Notice("warning", f"no record of this build could be kept: {problem}"))

    def _tell_job(self, build_id: str, recorder: Recorder, state: str) -> None:
        """Leave word of what came of this build for `pybuild ci save`, but after Ctrl-C: no cache is written then."""
        if self.request.job is None or state == "interrupted":
            return
        mounts = {named: id for executor in self.executors for named, id in executor.cache_mounts().items()}
        if self.last_solver is not None and self.last_solver.dirty:
            mounts = {}  # a shell may have written to them
        outcome = recorder.outcome(mounts, self.compression, self.epoch, ok=state == "done")
        try:
            self.session.store.jobs.note(self.request.job, build_id, outcome)
        except PybuildError as problem:
            self.emit(Notice("warning", f"`pybuild ci save` will not know of this build: {problem}"))

    def _run(self, targets: tuple[Target, ...], build_id: str, log_dir: str, recorder: Recorder) -> BuildResult:
        from buildkit_py.api.write_out import WriteOut, load_exporter

        request, session = self.request, self.session
        self.emit(BuildStarted(build_id, _title(request)))
        if not session.identity.privileged:
            from buildkit_py.api.losses import Losses

            session.on_loss = Losses(session.identity, self.emit, self.witness.told).heard

        if not targets:
            targets = self.targets(log_dir)
        self.witness.targets = recorder.targets = targets
        self._tell()
        if request.test:
            from buildkit_py.api.testing import run_tests

            return run_tests(self, targets, log_dir)
        makes_images = self.makes_images or any(target.tags for target in targets)
        makes_images = makes_images or (request.image and not any(target.host for target in targets))
        packer = self.packer = self._packer(load_exporter) if makes_images else None
        if request.cache_to and not request.dry_run:
            self.cache_packer = packer or self._packer()
        out = WriteOut(request, session, self.emit, packer, self.epoch, self.witness)
        out.check(targets)
        mends = request.on_error == "shell" and request.terminal
        packs = packer is not None or self.cache_packer is not None
        executor = self.executor(log_dir, self.compression if packs and self.epoch is None else "none", mends=mends)
        if mends:
            from buildkit_py.api.on_error import ShellOnError

            self.on_error = ShellOnError(session, executor, self.emit)
        roots = [target.step for target in targets if target.step is not None]
        roots += [test.step for target in targets for test in target.tests]
        # Before anything runs; of a value that stands in several places the outermost is named.
        self.secrets.look_at_options(roots)
        executor.expect(roots)
        self.secrets.look_at_images(targets)
        if request.dry_run:
            planned = self._plan(self.solver(executor, packer, targets), executor, targets)
            self.witness.look_at(executor, roots)
            return planned
        while True:
            try:
                results = self._make(targets, executor, roots, out)
                break
            except PybuildError as problem:  # the files of a step that has its result could not be had after all
                if not self._recovers(problem):
                    # What went well need not be done again by the next machine.
                    self._export_caches(targets, executor)
                    self._tell_image(problem, roots)
                    raise
        self._export_caches(targets, executor)
        self._hold(results)
        self.finish(True)
        return BuildResult(results, session.clock(), self.ran, self.cached)

    def targets(self, log_dir: str) -> tuple[Target, ...]:
        """The wanted targets of the Buildfile, on what the lock file beside it pins."""
        from buildkit_py.api import lock_file
        from buildkit_py.api.pins import Pins

        place = lock_file.path_for(self.request.file)
        if place:
            self.witness.file(place)
        lock = lock_file.load(place) if place else None
        pins = Pins(
            lock,
            os.path.relpath(place) if place else "",
            locked=self.request.locked,
            tell=lambda text, position: self.witness.notices.append(Notice("warning", text, position)),
        )
        try:
            return pins.targets(self.lower(log_dir, pins))
        except PybuildError:
            self._tell()  # what is odd about a Buildfile may be why it is wrong
            raise

    def lower(self, log_dir: str, pins: ImagePins) -> tuple[Target, ...]:
        """The graphs of the wanted targets, over the images that `pins` say. Raises what the frontends raise."""
        from buildkit_py.api.ahead import Ahead
        from buildkit_py.api.targets import targets

        ahead = Ahead(
            lambda: self.executor(log_dir, "none"),
            lambda executor, steps: self.solve(lambda: self.solver(executor, None, ()), executor, steps),
            self.witness,
            pins.step,
        )
        return targets(self.request, self.session, self.witness, ahead, pins, testing=self.testing)

    def _make(
        self, targets: tuple[Target, ...], executor: LocalExecutor, roots: list[Step], out: WriteOut
    ) -> tuple[TargetResult, ...]:
        """Solve, and write out what came of it."""

        def solver() -> Solver:
            self.last_solver = self.solver(executor, self.packer, targets)
            self.last_solver.mend = self.on_error.mend if self.on_error is not None else None
            return self.last_solver

        solution = self.solve(solver, executor, roots)
        self.session.let_launcher_end()
        self.witness.look_at(executor)
        return self._write_out(out, targets, solution)

    def _export_caches(self, targets: tuple[Target, ...], executor: LocalExecutor) -> None:
        """Write what was found and made to where `--cache-to` says."""
        if self.cache_packer is not None and self.caches is not None and self.last_solver is not None:
            self.witness.impure("a cache was written")
            self.caches.export(self.last_solver, _image_steps(targets), self.cache_packer)
            if not self.last_solver.dirty:  # a shell may have written to them
                self.caches.save_mounts(executor.cache_mounts())

    def _tell(self) -> None:
        for notice in self.witness.notices:
            self.emit(notice)

    def solve(
        self, make: Callable[[], Solver], executor: LocalExecutor, roots: list[Step], *, tolerant: bool = False
    ) -> Solution:
        """Results for all of the steps, by a solver from `make`. Raises the first failure, unless `tolerant`."""
        while True:
            try:
                solution = make().solve(roots)
            except PybuildError as problem:  # while it was looking, when nothing ran yet
                if self._recovers(problem):
                    continue
                self.witness.look_at(executor, roots)
                self._tell_image(problem, roots)
                raise
            self.witness.expires(solution.until)
            self.ran += solution.ran
            recovered = [problem for problem in solution.failures if self._recovers(problem)]
            if recovered:
                continue
            self.cached += solution.cached
            for failure in solution.failures:
                self._tell_image(failure, roots)
            if solution.failures and not tolerant:
                self.witness.look_at(executor, roots)
                self.finish(False)
                raise _first(solution.failures, self.request)
            return solution

    def _recovers(self, problem: PybuildError) -> bool:
        """Whether the build can go on by making again what could not be had."""
        from buildkit_py.api.lost_layers import forget

        layers = forget(self.session.store, problem.layer) if problem.layer else ()
        if not layers or problem.layer in self.lost:
            return False
        self.lost.add(problem.layer)
        if self.caches is not None:
            self.caches.forget(layers, problem.layer)
        for packer in (self.packer, self.cache_packer):
            if packer is not None:
                packer.forget()
        what = "a step" if len(layers) == 1 else f"{len(layers)} steps"
        self.emit(Notice("warning", f"the files of {what} cannot be had and are made again: {problem.message}"))
        return True

    def _tell_image(self, problem: PybuildError, roots: list[Step]) -> None:
        from buildkit_py.api.broken_base import tell_image

        tell_image(problem, roots)

    def _plan(self, solver: Solver, executor: LocalExecutor, targets: tuple[Target, ...]) -> BuildResult:
        from buildkit_py.api.plan import plan

        steps = plan(self.session.store, self.request, solver, executor, targets, TOOL)
        names = "+".join(target.name for target in targets)
        ran = sum(step.verdict != "CACHED" for step in steps)
        return BuildResult((TargetResult(names, "", plan=steps),), self.session.clock(), ran, len(steps) - ran)

    def _packer(self, spare: Callable[[], object] | None = None) -> Packer:
        from buildkit_py.executor.pack_layers import Packer

        return Packer(self.session.store, self.session.materializer(), self.compression, epoch=self.epoch, spare=spare)

    def executor(self, log_dir: str, compression: str, *, mends: bool = False) -> LocalExecutor:
        """What performs the steps; their logs go to `log_dir`. `mends`: who calls it mends what fails."""
        from buildkit_py.executor.local import LocalExecutor
        from buildkit_py.executor.settings import Settings

        executor = LocalExecutor(
            self.session.store,
            self.session.materializer(),
            self.session.launcher,
            self.emit,
            self.session.clock,
            self.given(),
            Settings(
                log_dir,
                network=self.session.config.network,
                compression=compression,
                ca_bundle=self.session.ca_bundle(),
                offline=self.request.offline,
                save=self._save,
                restore=self.caches.mounts().restore if self.request.cache_from and self.caches else None,
                keep_failed=self._keep_failed if self.request.on_error != "fail" else None,
                mends=mends,
                own=self.request.kept_out,
            ),
            self.session.transport,
        )
        self.executors.append(executor)
        return executor

    def _keep_failed(self, asked: Asked, upper: str) -> None:
        from buildkit_py.api.failed_steps import keep

        keep(self.session, asked, upper)

    def given(self) -> Given:
        """What a person gave to the build besides its files."""
        from buildkit_py.executor.settings import Given

        return Given(self.secrets.value, self.agents.socket, self.secrets.gate)

    def results(self, executor: LocalExecutor, steps: list[Step]) -> dict[Step, Result]:
        """What these steps come to, and all that they stand on. Raises the first failure."""
        return self.solve(lambda: self.solver(executor, None, ()), executor, steps).results

    def _save(self, directories: tuple[str, ...], source: str, dest: str) -> None:
        """Copy what a `--save-always` names into the project."""
        from buildkit_py.exporter.place import place

        base = self.request.context or os.path.dirname(self.request.file) or os.getcwd()
        began = self.session.clock()
        place(directories, source, base, dest, privileged=self.session.identity.privileged)
        self.emit(Exported("save-always", os.path.join(base, dest), "", self.session.clock() - began))

    def solver(self, executor: LocalExecutor, packer: Packer | None, targets: tuple[Target, ...]) -> Solver:
        from buildkit_py.api.maker import maker
        from buildkit_py.solver.solve import Solver
        from buildkit_py.solver.store_cache import StoreCache

        cache_packer = self.cache_packer if targets else None
        in_images = _image_steps(targets) if packer is not None or cache_packer is not None else set()

        def on_result(step: Step, result: Result) -> None:
            if packer is not None and step in in_images and result.layer:
                packer.begin(result.layer)
            if cache_packer is not None and self.caches is not None:
                self.caches.begin(solver, step, result, in_images, cache_packer)

        solver = Solver(
            StoreCache(
                self.session.store,
                TOOL,
                self.caches.imports() if self.caches is not None else None,
                self.session.grew,
                maker(os.environ),
            ),
            executor,
            self.emit,
            self.session.clock,
            jobs=self.request.jobs or self.session.config.jobs or len(os.sched_getaffinity(0)),
            keep_going=self.request.keep_going,
            on_result=on_result,
            numbers=self.numbers,
        )
        if self.recorder is not None:
            self.recorder.watch(solver)
        return solver

    def _write_out(self, out: WriteOut, targets: tuple[Target, ...], solution: Solution) -> tuple[TargetResult, ...]:
        if solution.dirty:
            self.witness.impure("a step was repaired by hand")
            for target in targets:
                # Its tests are there where it is pushed.
                for step in (target.step, *(test.step for test in target.tests)):
                    if step in solution.dirty:
                        out.refuse(target, solution.dirty[step])
        results = []
        for target in targets:
            result = solution.results[target.step] if target.step is not None else None
            results.append(out.target(target, result, alone=len(targets) == 1))
        out.metadata(results)
        return tuple(results)

    def _hold(self, results: tuple[TargetResult, ...]) -> None:
        """Note what of the store the answer stands on: layers, and blobs of images."""
        store, held = self.session.store, self.witness.held
        for result in results:
            for layer in store.snapshots.layers(result.snapshot):
                held.append(store.layers.path(layer) + "/meta")
                trees = store.layers.trees(layer)
                if trees:
                    held += trees
                elif (blob := store.layers.any_blob(layer)) is not None:
                    held.append(store.blobs.path(blob[1].digest))
            if result.image:
                from buildkit_py.exporter.image import load

                image = load(store, result.image)
                held += [store.blobs.path(digest) for digest in (result.image, image.manifest.config.digest)]
                held += [
                    store.blobs.path(layer.digest) for layer in image.manifest.layers if store.blobs.has(layer.digest)
                ]

    def finish(self, ok: bool) -> None:
        """Tell that the build ended."""
        self.emit(BuildFinished(ok, self.session.clock(), self.ran, self.cached))


def _title(request: BuildRequest) -> str:
    if "-" in (request.remote, request.file):
        return "standard input"
    if request.remote:
        from buildkit_py.http.address import shown_url

        return shown_url(request.remote)
    return os.path.relpath(request.file)


def _first(failures: list[PybuildError], request: BuildRequest) -> PybuildError:
    first, *others = failures
    if request.on_error == "shell" and not request.terminal and not first.hint and isinstance(first, StepFailed):
        first.hint = "there is no terminal for a shell; `pybuild shell` opens what the step left"
    first.notes = (*first.notes, *(f"also failed: {other}" for other in others))
    return first


def _image_steps(targets: tuple[Target, ...]) -> set[Step]:
    """The steps whose layers are in the targets' own images (and not only read by them)."""
    steps: set[Step] = set()
    for target in targets:
        step = target.step
        while step is not None and step not in steps:
            steps.add(step)
            step = step.base
    return steps
