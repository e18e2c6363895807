"""`RUN --with` and the SERVICEs that it names, into what a `Run` has beside it."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import run_options, services
from buildkit_py.frontend.assemble import files_of, shell_argv
from buildkit_py.frontend.buildfile.service_table import names_of
from buildkit_py.frontend.buildfile.syntax import Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower_file import Build
    from buildkit_py.frontend.buildfile.lower_stage import StageLowering
    from buildkit_py.frontend.buildfile.service_table import ServiceNode
    from buildkit_py.frontend.buildfile.stages import StageNode
    from buildkit_py.frontend.buildfile.syntax import Flag
    from buildkit_py.graph.op import Service
    from buildkit_py.graph.step import Step
    from buildkit_py.source_map import Position


def lower_services(
    lowering: StageLowering, stage: Stage, flags: Sequence[Flag], network: str, sources: list[Step]
) -> tuple[Service, ...]:
    """What a RUN asks for by its `--with`s, which are `flags`; the filesystems are added to `sources`.

    Raises `BuildfileError`.
    """
    found: dict[str, Service] = {}
    for flag in flags:
        at = lowering.place(flag.position)
        for name in names_of(flag):
            if name.lower() in found:
                raise BuildfileError(f"--with names the service `{name}` twice", at=at)
            node = lowering.build.table.unit(flag.position).services.find(name, at)
            service, step = lower_service(lowering.build, node, name.lower(), lowering.node, at)
            sources.append(step)
            found[name.lower()] = service.replace(source=len(sources) - 1)
        services.check_step(stage.settings, network, found, at)
    return tuple(found.values())


def lower_service(build: Build, node: ServiceNode, name: str, user: StageNode, at: Position) -> tuple[Service, Step]:
    """A service that an instruction of the stage `user` asks for by a name, at a place, and its filesystem.

    Once for all who call it so: the name is its own as well, in its variables and in what its seed may have written.

    Raises `BuildfileError`, and what lowering or resolving its image raises.
    """
    stage = _stage(build, node, user, at)
    known = build.services.get((node, name))
    if known is None:
        known = build.services[node, name] = _made(build, node, name, stage)
    return known


def _stage(build: Build, node: ServiceNode, user: StageNode, at: Position) -> Stage:
    head, word = node.head, node.base_name
    if node.base is user:
        raise BuildfileError(
            f"the service `{head.name}` starts from the stage `{user.title}`, which is not made yet here",
            at=at,
            hint=f"ask for it in a stage of its own: `FROM {user.title} AS tested`",
        )
    if node.base is not None:
        stage = build.earlier_stage(node.base, user, at)
        build.take_tests(stage, user)
        return stage
    label = f"[service {head.name}] FROM {word}"
    stage = build.base_of(word, build.platform, head.name, lambda: label, head.position, head.image.position)
    build.take_tests(stage, user)
    return stage.replace(ignore_cache=build.options.no_cache)


def _made(build: Build, node: ServiceNode, name: str, stage: Stage) -> tuple[Service, Step]:
    head = node.head
    env: list[tuple[str, str]] = []
    seed = ""
    fields: dict[str, object] = {}
    for flag in head.flags:
        text = flag.value or ""
        if not text:
            raise BuildfileError(f"--{flag.name} comes to nothing", at=flag.position)
        match flag.name:
            # Their variables are the shell's, which is in the service.
            case "ready":
                fields["ready"] = shell_argv(stage, text)
                continue
            case "seed":
                seed = text
                continue
        text = node.scope().text(Word(text, flag.position))
        try:
            match flag.name:
                case "port":
                    fields["port"] = services.port(text)
                case "timeout":
                    fields["timeout"] = run_options.milliseconds(text)
                case _:
                    env.append(_pair(text))
        except ValueError as problem:
            raise BuildfileError(f"--{flag.name}: {problem}", at=flag.position) from problem
    if build.others is not None and build.others.surveying and not (stage.config.entrypoint or stage.config.cmd):
        stage = stage.replace(config=stage.config.replace(cmd=("unknown",)))  # where an image is not here, all of it is
    service = services.container(name, stage, env=tuple(env), position=head.position, **fields)  # type: ignore[arg-type]
    if not seed:
        return service, files_of(stage)
    shown = " ".join(seed.split())
    step = services.seeded(stage, service, shell_argv(stage, seed), shown=shown, position=head.position)
    return service, step


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"`{text}` is no variable; write NAME=value")
    return name, value
