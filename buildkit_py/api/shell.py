"""A shell where a step runs: in its files before it, after it or as it left them, with its variables and mounts."""

from __future__ import annotations

import os
from contextlib import ExitStack

from buildkit_py.api.build import Build
from buildkit_py.api.failed_steps import name_of
from buildkit_py.api.session import Session
from buildkit_py.api.witness import Witness
from buildkit_py.errors import UsageError
from buildkit_py.executor.run_place import Asked
from buildkit_py.graph.op import Run, is_silent
from buildkit_py.graph.step import in_order
from buildkit_py.record import Record
from buildkit_py.solver.align import bare_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.events import Emit
    from buildkit_py.graph.step import Step
    from buildkit_py.sandbox.spec import SandboxSpec
    from buildkit_py.store.store import Store

BEFORE, AFTER, AS_LEFT = "before", "after", "as left"


class ShellRequest(Record):
    """`step` is a step's number or a part of its text, "" for the one that failed last.

    `files` are those before it, those after it, or those that it left when it failed: the ones before it where it
    did not, or where nothing is kept of that. `argv` runs in them, with a terminal if that is wanted; where it is
    empty, a shell does.
    """

    step: str
    argv: tuple[str, ...]
    files: str = AS_LEFT
    terminal: bool = False


class Shell:
    """A sandbox that is ready to start. `run` is called once; it lets go of all that is held.

    `note` says which files are in it, "" where that is what was asked for.
    """

    def __init__(self, session: Session, spec: SandboxSpec, held: ExitStack, note: str) -> None:
        self.note = note
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
        needed = [step] if wanted.files == AFTER else []
        needed += [one for one in (step.base, *step.sources) if one is not None]
        executor = build.executor(work, "none")
        executor.expect(needed, as_files=True)
        results = build.results(executor, needed)
        below = results[step.base].snapshot if step.base is not None else ""
        asked = Asked(step, below, tuple([results[source] for source in step.sources]))
        executor.foresee([step])  # so that its network is there
        place = executor.runs.place(asked)
        held.callback(place.release)
        layers, note = place.layers, ""
        if wanted.files == AFTER:
            layers = executor.files.trees(results[step].snapshot).directories
        elif wanted.files == AS_LEFT and (left := session.store.failed.open(name_of(asked))) is not None:
            layers = (*layers, held.enter_context(left).path)
            note = f"`{step.name}` failed, and these are the files as it left them"
        elif wanted.files == AS_LEFT and not wanted.step:
            note = f"what `{step.name}` left is not kept any more, and these are the files before it"
        spec = place.sandbox(work, layers)
        if place.services:
            beside = held.enter_context(executor.runs.beside(step, "shell", shown=False))
            spec = beside.surround_shell(place.services, spec)
        if wanted.argv:
            terminal = (("TERM", os.environ.get("TERM", "xterm")),) if wanted.terminal else ()
            spec = spec.replace(argv=wanted.argv, env=(*spec.env, *terminal), terminal=wanted.terminal)
        else:
            from buildkit_py.executor.materialize import Trees
            from buildkit_py.runner.shell_kit import ShellKit

            spec = ShellKit(f"{work}/kit", Trees(layers, host=spec.root.host).roots).equip(spec)
        return Shell(session, spec, held.pop_all(), note)


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
