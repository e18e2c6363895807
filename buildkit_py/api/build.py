"""Building: a request in, targets built, images made and written out."""

from __future__ import annotations

import os

from buildkit_py.api.request import BuildResult, TargetResult, TargetSummary
from buildkit_py.api.session import Session
from buildkit_py.api.witness import Witness
from buildkit_py.api.write_out import WriteOut, wants_image
from buildkit_py.errors import PybuildError, UsageError
from buildkit_py.events import BuildFinished, BuildStarted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.api.request import BuildRequest, Secret
    from buildkit_py.events import Emit
    from buildkit_py.executor.local import LocalExecutor
    from buildkit_py.executor.pack_layers import Packer
    from buildkit_py.executor.result import Result
    from buildkit_py.frontend.target import Target
    from buildkit_py.graph.step import Step
    from buildkit_py.solver.solve import Solution, Solver

TOOL = "pybuild 0.1"
# What the command line calls them and what layers call them.
_COMPRESSIONS = {"zstd": "zstd", "gzip": "gzip", "uncompressed": "none", "none": "none", "": "zstd"}


def outline(file: str, context: str = "") -> tuple[TargetSummary, ...]:
    """What `--list` shows of a file. Raises `BuildfileError`."""
    from buildkit_py.api.targets import outline as file_outline

    return file_outline(file)


def build(request: BuildRequest, emit: Emit, witness: Witness | None = None) -> BuildResult:
    """Build what is asked for. Raises the first failure; further ones are in its `notes`.

    `witness` takes down everything that was looked at, for the first tier.
    """
    witness = witness if witness is not None else Witness()
    with Session(request.store, sandboxes=not request.dry_run) as session:
        return _Build(request, session, emit, witness).run()


def rebuild(request: BuildRequest, targets: tuple[Target, ...], emit: Emit, witness: Witness) -> BuildResult:
    """Build targets again that an earlier build lowered, whose Buildfile and all else it looked at are unchanged."""
    with Session(request.store, sandboxes=True) as session:
        return _Build(request, session, emit, witness).run(targets)


class _Build:
    """One build: the parts wired together."""

    def __init__(self, request: BuildRequest, session: Session, emit: Emit, witness: Witness) -> None:
        self.request = request
        self.session = session
        self.emit = emit
        self.witness = witness
        self.epoch = request.epoch if request.epoch is not None else (0 if request.reproducible else None)
        self.compression = _COMPRESSIONS[request.compression or session.config.compression]
        self.makes_images = bool(
            request.tags or request.iidfile or request.metadata_file or wants_image(request.outputs)
        )

    def run(self, targets: tuple[Target, ...] = ()) -> BuildResult:
        request, session = self.request, self.session
        build_id, log_dir = session.store.builds.create()
        title = os.path.relpath(request.file) if request.file != "-" else "standard input"
        self.emit(BuildStarted(build_id, title))

        def run_now(step: Step) -> str:
            solution = self._solver(self._executor(log_dir, "none"), None, ()).solve([step])
            if solution.failures:
                raise _first(solution.failures)
            return solution.results[step].text

        if not targets:
            from buildkit_py.api.targets import targets as lower

            targets = lower(request, session, self.witness, run_now)
        self.witness.targets = targets
        for notice in self.witness.notices:
            self.emit(notice)
        makes_images = self.makes_images or any(target.tags for target in targets)
        if makes_images:
            _refuse_host_images(targets)
        packer = self._packer() if makes_images and not request.dry_run else None
        executor = self._executor(log_dir, self.compression if packer is not None and self.epoch is None else "none")
        solver = self._solver(executor, packer, targets)
        roots = [target.step for target in targets if target.step is not None]
        executor.expect(roots)
        if request.dry_run:
            return self._plan(solver, targets, roots)
        try:
            solution = solver.solve(roots)
        finally:
            self.witness.scans += executor.contexts()
        if solution.failures:
            self._finish(False, solution)
            raise _first(solution.failures)
        results = self._write_out(targets, solution, packer)
        self._hold(results)
        self._finish(True, solution)
        return BuildResult(results, session.clock(), solution.ran, solution.cached)

    def _plan(self, solver: Solver, targets: tuple[Target, ...], roots: list[Step]) -> BuildResult:
        plan = tuple((step.name, verdict, reason) for step, verdict, reason in solver.plan(roots))
        names = "+".join(target.name for target in targets)
        ran = sum(verdict != "CACHED" for _, verdict, _ in plan)
        return BuildResult((TargetResult(names, "", plan=plan),), self.session.clock(), ran, len(plan) - ran)

    def _packer(self) -> Packer:
        from buildkit_py.executor.pack_layers import Packer

        return Packer(self.session.store, self.session.materializer(), self.compression, epoch=self.epoch)

    def _executor(self, log_dir: str, compression: str) -> LocalExecutor:
        from buildkit_py.executor.local import LocalExecutor, Settings

        return LocalExecutor(
            self.session.store,
            self.session.materializer(),
            self.session.launcher,
            self.emit,
            self.session.clock,
            _secrets(self.request.secrets),
            Settings(log_dir, self.session.config.network or "host", compression, self._ca_bundle()),
        )

    def _ca_bundle(self) -> bytes:
        path = os.environ.get("PYBUILD_CA_BUNDLE") or self.session.config.ca_bundle
        if not path:
            return b""
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as problem:
            raise UsageError(
                f"the certificates to trust cannot be read: {problem.strerror}", at=path, hint="see PYBUILD_CA_BUNDLE"
            ) from problem

    def _solver(self, executor: LocalExecutor, packer: Packer | None, targets: tuple[Target, ...]) -> Solver:
        from buildkit_py.solver.solve import Solver
        from buildkit_py.solver.store_cache import StoreCache

        in_images = _image_steps(targets) if packer is not None else set()

        def on_result(step: Step, result: Result) -> None:
            if packer is not None and step in in_images and result.layer:
                packer.begin(result.layer)

        return Solver(
            StoreCache(self.session.store, TOOL),
            executor,
            self.emit,
            self.session.clock,
            jobs=self.request.jobs or self.session.config.jobs or len(os.sched_getaffinity(0)),
            keep_going=self.request.keep_going,
            on_result=on_result,
        )

    def _write_out(
        self, targets: tuple[Target, ...], solution: Solution, packer: Packer | None
    ) -> tuple[TargetResult, ...]:
        out = WriteOut(self.request, self.session, self.emit, packer, self.epoch)
        results = []
        for target in targets:
            result = solution.results[target.step] if target.step is not None else None
            results.append(out.target(target, result, alone=len(targets) == 1))
        out.metadata(results)
        return tuple(results)

    def _hold(self, results: tuple[TargetResult, ...]) -> None:
        """Note what of the store the answer stands on: layers, blobs of images, names, files written."""
        store, held = self.session.store, self.witness.held
        for result in results:
            for layer in store.snapshots.layers(result.snapshot):
                held.append(store.layers.path(layer) + "/meta")
                tree = store.layers.tree(layer)
                if tree is not None:
                    held.append(tree)
                elif (blob := store.layers.any_blob(layer)) is not None:
                    held.append(store.blobs.path(blob[1].digest))
            if result.image:
                from buildkit_py.exporter.image import load

                image = load(store, result.image)
                held += [store.blobs.path(digest) for digest in (result.image, image.manifest.config.digest)]
                held += [
                    store.blobs.path(layer.digest) for layer in image.manifest.layers if store.blobs.has(layer.digest)
                ]
            self.witness.names += [store.images.path(tag) for tag in result.tags]
        self.witness.names += [path for path in (self.request.iidfile, self.request.metadata_file) if path]
        for output in self.request.outputs:
            if output.dest and output.dest != "-":
                self.witness.written(output.dest)

    def _finish(self, ok: bool, solution: Solution) -> None:
        self.emit(BuildFinished(ok, self.session.clock(), solution.ran, solution.cached))


def _first(failures: list[PybuildError]) -> PybuildError:
    first, *others = failures
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


def _refuse_host_images(targets: tuple[Target, ...]) -> None:
    from buildkit_py.errors import ExportError

    for target in targets:
        if target.host:
            raise ExportError(
                f"`{target.name}` stands on this machine's own root filesystem and cannot become an image",
                at=target.position,
                hint="copy what it made into a target that starts from a real base image or from scratch",
            )


def _secrets(given: tuple[Secret, ...]) -> Callable[[str], bytes | None]:
    known = {secret.id: secret for secret in given}

    def value(id: str) -> bytes | None:
        from buildkit_py.errors import SourceError

        secret = known.get(id)
        if secret is None:
            return None
        if secret.env:
            text = os.environ.get(secret.env)
            return None if text is None else os.fsencode(text)
        try:
            with open(secret.file, "rb") as file:
                return file.read()
        except OSError as problem:
            raise SourceError(f"the secret `{id}` cannot be read: {problem.strerror}", at=secret.file) from problem

    return value
