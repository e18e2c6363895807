"""A shell where a step runs: in its files before or after it, with its variables, user, network and mounts."""

from __future__ import annotations

import os
from contextlib import ExitStack

from buildkit_py.api.build import Build
from buildkit_py.api.session import Session
from buildkit_py.api.witness import Witness
from buildkit_py.errors import UsageError
from buildkit_py.events import Notice
from buildkit_py.executor.cache_mounts import Begun, CacheMounts
from buildkit_py.executor.run_step import Mounts, sandbox_spec
from buildkit_py.executor.ssh_forward import AgentMounts
from buildkit_py.graph.op import Run, is_silent
from buildkit_py.graph.step import in_order
from buildkit_py.record import Record
from buildkit_py.sandbox.network.choice import Choice
from buildkit_py.sandbox.spec import RootFilesystem
from buildkit_py.solver.align import bare_name
from buildkit_py.store.work import make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.events import Emit
    from buildkit_py.executor.result import Result
    from buildkit_py.graph.step import Step
    from buildkit_py.sandbox.spec import SandboxSpec
    from buildkit_py.store.store import Store


class ShellRequest(Record):
    """`step` is a step's number or a part of its text, "" for the one that failed last; `after`: with what it wrote.

    `argv` runs in it. `terminal`: it gets one.
    """

    step: str
    argv: tuple[str, ...]
    after: bool = False
    terminal: bool = False


class Shell:
    """A sandbox that is ready to start. `run` is called once; it lets go of all that is held."""

    def __init__(self, session: Session, spec: SandboxSpec, held: ExitStack) -> None:
        self._session = session
        self._spec = spec
        self._held = held

    def run(self) -> int:
        """Run it on this process's standard streams to its end; its exit code. Raises `SandboxError`."""
        from buildkit_py.runner.foreground import Forwarding, run_in_foreground

        with self._held, Forwarding() as forwarding:
            return run_in_foreground(self._session.launcher().spawn, self._spec, forwarding, interactive=True)


def prepare(build_request: BuildRequest, wanted: ShellRequest, emit: Emit) -> Shell:
    """Build what a step stands on, and make its sandbox ready for another command. What that writes is dropped.

    A cache mount is the step's own and is written to. Raises what building raises, and `UsageError` for a step
    that is not there or is no RUN.
    """
    with ExitStack() as held:
        session = held.enter_context(Session(build_request.store, sandboxes=True, offline=build_request.offline))
        work = held.enter_context(session.store.work_dir("shell")).path
        build = Build(build_request, session, emit, Witness())
        held.callback(build.agents.close)
        build.testing = True  # a TEST can be opened as well
        targets = build.targets(work)
        roots = [target.step for target in targets if target.step is not None]
        roots += [test.step for target in targets for test in target.tests]
        step = _chosen(session.store, build_request.file, list(in_order(roots)), wanted.step)
        needed = [step] if wanted.after else []
        needed += [one for one in (step.base, *step.sources) if one is not None]
        executor = build.executor(work, "none")
        executor.expect(needed, as_files=True)
        results = build.results(executor, needed)
        spec, mounts = _inside(session, build, step, results, wanted, work)
        held.callback(mounts.release)
        return Shell(session, spec, held.pop_all())


def _inside(
    session: Session,
    build: Build,
    step: Step,
    results: dict[Step, Result],
    wanted: ShellRequest,
    work: str,
) -> tuple[SandboxSpec, Mounts]:
    op = step.op
    assert isinstance(op, Run)
    store, materializer = session.store, session.materializer()
    sources = [results[source] for source in step.sources]
    if wanted.after:
        below = results[step].snapshot
    elif op.inputs:
        below = sources[-1].snapshot  # the base as the step sees it
    else:
        below = results[step.base].snapshot if step.base is not None else ""
    trees = materializer.trees(store.snapshots.layers(below))
    seen = [materializer.trees(store.snapshots.layers(one.snapshot)) if one.snapshot else None for one in sources]
    given = build.given()
    caches = CacheMounts(
        store, materializer, Begun(), step, trees, [one.snapshot for one in sources], seen, lambda process: None
    )
    mounts = Mounts(step, op, seen, given.secret, caches, AgentMounts(store, given.agent, step), build.ca_bundle())
    make_root(f"{work}/upper")
    os.mkdir(f"{work}/overlay", 0o700)
    networks = Choice(session.config.network, lambda message, hint: build.emit(Notice("warning", message, hint=hint)))
    network = networks.network(op.network)
    if network == "isolated":
        session.launcher().connect(networks.plan())
    spec = sandbox_spec(
        op.replace(argv=wanted.argv),
        RootFilesystem(trees.directories, f"{work}/upper", f"{work}/overlay", trees.host),
        tuple(mounts.specs),
        (*mounts.env, *((("TERM", os.environ.get("TERM", "xterm")),) if wanted.terminal else ())),
        network,
        networks.resolv_conf(network),
    )
    return spec.replace(terminal=wanted.terminal), mounts


def _chosen(store: Store, file: str, order: Sequence[Step], wanted: str) -> Step:
    """The Run that is meant. Numbers are those of a build that shows its progress plainly."""
    visible = [step for step in order if not is_silent(step.op)]
    if not wanted:
        name = _failed(store, file)
        found = [step for step in visible if bare_name(step.name) == name]
        if not found:
            raise UsageError(
                "no step of the last build failed" if not name else f"the step that failed, `{name}`, is gone",
                hint="name a step: TARGET@STEP, by its number or a part of its text",
            )
    elif wanted.isascii() and wanted.isdigit():
        found = visible[int(wanted) - 1 : int(wanted)] if int(wanted) else []
    else:
        found = [step for step in visible if wanted in bare_name(step.name)]
    if not found:
        raise UsageError(f"no step is `{wanted}`", hint="`pybuild plan` lists them")
    if len(found) > 1 and wanted:
        names = ", ".join(f"{visible.index(step) + 1} `{step.name}`" for step in found[:3])
        raise UsageError(f"`{wanted}` is in the text of several steps: {names}", hint="give the number")
    if not isinstance(found[-1].op, Run):
        raise UsageError(f"`{found[-1].name}` is no command", hint="a shell opens where a RUN runs")
    return found[-1]


def _failed(store: Store, file: str) -> str:
    """The text of the step that failed in the newest build of a file; "" where none did."""
    for record in store.builds.records():
        if record.file == file:
            return next((bare_name(step.name) for step in record.steps if step.state == "FAILED"), "")
    return ""
