"""The services of a command of a Buildfile.py, into what a `Run` has beside it."""

from __future__ import annotations

from buildkit_py.frontend import services
from buildkit_py.frontend.assemble import files_of, shell_argv
from buildkit_py.frontend.python import actions
from buildkit_py.frontend.python.text import plain
from buildkit_py.graph.op import Copy, CopyPath, Mount
from buildkit_py.graph.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.python.image import Image
    from buildkit_py.frontend.python.service import Service
    from buildkit_py.frontend.python.tree import Tree
    from buildkit_py.graph import op


class ServiceLowering:
    """The services of one call, each lowered once for each name that commands have for it.

    `stage_of` gives the stage of an image, `files_in` the step of a tree and its paths.
    """

    def __init__(self, stage_of: Callable[[Image], Stage], files_in: Callable[[Tree], tuple[Step, list[str]]]) -> None:
        self._stage_of = stage_of
        self._files_in = files_in
        # The value itself is kept with what it became, so that its id stays taken.
        self._made: dict[tuple[int, str], tuple[Service, op.Service, Step]] = {}

    def lower(
        self, wanted: tuple[tuple[str, Service], ...], action: actions.RunCommand, stage: Stage, sources: list[Step]
    ) -> tuple[op.Service, ...]:
        """What a command has beside it; the filesystems are added to `sources`. Raises `BuildfileError`."""
        found: list[op.Service] = []
        for name, service in wanted:
            known = self._made.get((id(service), name))
            if known is None:
                known = self._made[id(service), name] = (service, *self._one(name, service))
            _, made, step = known
            sources.append(step)
            found.append(made.replace(source=len(sources) - 1))
        if found:
            at = wanted[0][1].position
            services.check_step(stage.settings, action.network, [name for name, _ in wanted], at)
        return tuple(found)

    def _one(self, name: str, service: Service) -> tuple[op.Service, Step]:
        stage, at = self._stage_of(service.image), service.position
        made = services.container(
            name,
            stage,
            env=tuple((key, plain(value)) for key, value in service.env),
            port=service.port,
            ready=_argv(stage, service.ready),
            timeout=service.timeout,
            position=at,
        )
        if not service.seed and service.files is None:
            return made, files_of(stage)
        command = _argv(stage, service.seed)
        mounts: tuple[Mount, ...] = ()
        sources: tuple[Step, ...] = ()
        if service.files is not None:
            mounts = (Mount("bind", service.files_at, 0, service.files_at),)
            sources = (self._files(name, service, service.files),)
        shown = service.seed if isinstance(service.seed, str) else " ".join(service.seed)
        shown = " ".join(shown.split()) or "with files"
        step = services.seeded(stage, made, command, mounts=mounts, sources=sources, shown=shown, position=at)
        return made, step

    def _files(self, name: str, service: Service, tree: Tree) -> Step:
        """The files of a seed at their place, as COPY would put them there."""
        source, paths = self._files_in(tree)
        items = tuple(CopyPath(path) for path in paths or ["/"])
        op = Copy(items, service.files_at + "/")
        label = " ".join(("COPY", *(paths or ["/"]), service.files_at + "/"))
        return Step(op, None, (source,), f"[service {name}] {label}", name, service.position)


def _argv(stage: Stage, command: str | tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(command, str):
        return shell_argv(stage, command) if command else ()
    return command
