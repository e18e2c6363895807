"""`pybuild up`: the services of a compose file, built, made and started in the order of their dependencies."""

from __future__ import annotations

from buildkit_py.cli.listener import library
from buildkit_py.cli.options import Command, Option, parse
from buildkit_py.cli.project import OPTIONS, PATIENCE, patience, project_of, tell, with_dependencies
from buildkit_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.cli.options import Parsed
    from buildkit_py.cli.watched import Watching
    from buildkit_py.frontend.compose.project import Project, Service
    from buildkit_py.runner.memo import Runnable


def parser() -> Command:
    """The command's table."""
    return Command(
        "up",
        "start the services of a compose file",
        ("pybuild up [options] [SERVICE…]",),
        (
            *OPTIONS,
            Option(("-d", "--detach"), "leave them in the background"),
            Option(("--wait",), "return when all are healthy, or run where nobody checks that; as with -d"),
            Option(("--wait-timeout",), "how long services wait for each other at most", "SECONDS"),
            Option(("--build",), "build images; that is done in any case, from the cache as far as it goes"),
            Option(("--no-build",), "build nothing, and take the images that are there"),
            Option(("--force-recreate",), "replace all containers, also those of which nothing has changed"),
            Option(("--remove-orphans",), "remove containers of services that the files do not have any more"),
            Option(("--watch",), "build and replace services whenever something changes that they are made from"),
            PATIENCE,
            Option(("--exit-code-from",), "end all when this one ends, with its exit code", "SERVICE"),
            Option(("--progress",), "how builds are shown", "KIND", choices=("auto", "tty", "plain", "quiet")),
        ),
        about=(
            "Without SERVICE all that are enabled, else those and what they depend on. A container is replaced where "
            "its image or its definition is another one than the last time, and left alone elsewhere. Without `-d` "
            "what they write is shown, Ctrl-C ends them, what others depend on last, and a second one kills them. "
            "docs/how-to/compose.md says what of a compose file is understood."
        ),
        examples=(
            ("pybuild up", "all services, until Ctrl-C"),
            ("pybuild up -d --wait web", "one with what it depends on, in the background"),
            ("pybuild up --exit-code-from=tests", "in CI: the code of the tests"),
        ),
        most=-1,
    )


def main(argv: list[str]) -> int:
    """Bring them up; the exit code is documented in docs/reference/exit-codes.md."""
    from buildkit_py.api.project import in_networks
    from buildkit_py.api.project_request import seats
    from buildkit_py.cli import values

    parsed = parse(parser(), argv)
    code_from = parsed.one("exit-code-from")
    detached = parsed.has("detach") or parsed.has("wait")
    if detached and code_from:
        raise UsageError("`--exit-code-from` waits for an end", hint="leave `-d` and `--wait` out")
    if parsed.has("build") and parsed.has("no-build"):
        raise UsageError("`--build` and `--no-build` contradict each other", hint="leave one of them out")
    seconds = values.seconds(parsed.one("wait-timeout"), "--wait-timeout") if "wait-timeout" in parsed.given else None
    end = patience(parsed)
    if parsed.has("watch"):
        if detached or code_from or parsed.has("no-build"):
            raise UsageError(
                "`--watch` stays in the foreground and builds", hint="leave `-d`, `--wait` and the like out"
            )
        library("up --watch")
    project, names = _project(parsed)
    with in_networks(seats(project)):
        witness = _witness(parsed)
        runnables = _runnables(parsed, project, names, witness)
        if detached:
            bring(parsed, project, runnables, seconds)
            return 0
        from buildkit_py.cli.attached import Attached

        watch = None
        if witness is not None:
            from buildkit_py.cli.locate import here
            from buildkit_py.cli.project_watch import ProjectWatch
            from buildkit_py.cli.watched import project_inputs

            watch = ProjectWatch(argv, project_inputs(witness), here())
        attached = Attached(project, names, code_from, watch, fixed=bool(parsed.operands), seconds=end)
        return attached.run(lambda tick: bring(parsed, project, runnables, seconds, tick=tick))


def bring_again(argv: list[str], witness: Watching) -> None:
    """Bring a project that is watched up again, as it is now."""
    from buildkit_py.api.project import in_networks
    from buildkit_py.api.project_request import seats

    parsed = parse(parser(), argv)
    project, names = _project(parsed)
    with in_networks(seats(project)):
        bring(parsed, project, _runnables(parsed, project, names, witness), None)


def _witness(parsed: Parsed) -> Watching | None:
    if not parsed.has("watch"):
        return None
    from buildkit_py.cli.watched import Watching

    return Watching()


def _project(parsed: Parsed) -> tuple[Project, tuple[str, ...]]:
    """The project, and the services that are wanted of it. Raises what is wrong with any of these, too."""
    from buildkit_py.api.project_request import verify

    code_from = parsed.one("exit-code-from")
    project = project_of(parsed, (*parsed.operands, *[code_from] * bool(code_from)))
    names = with_dependencies(project, parsed.operands)
    if code_from and code_from not in names:
        raise UsageError(f"`{code_from}` is not among the services that are started", hint="name it behind the others")
    verify(project, names)
    return project, names


def _runnables(
    parsed: Parsed, project: Project, names: tuple[str, ...], witness: Watching | None
) -> dict[str, Runnable]:
    """What the containers of services run, built or pulled first."""
    if witness is not None:
        for path in project.files:
            witness.file(path)
    _orphans(parsed, project)
    return {name: runnable(parsed, project, name, witness) for name in names}


def bring(
    parsed: Parsed,
    project: Project,
    runnables: dict[str, Runnable],
    seconds: float | None,
    *,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Make and start the containers of services whose images are there."""
    from buildkit_py.api.project_up import Up
    from buildkit_py.cli.progress import if_busy, kind_of, shown

    kind = kind_of(parsed)
    up = Up(
        project,
        runnables,
        shown=lambda work: shown(kind, lambda emit: work(if_busy(emit))),
        tell=tell,
        tick=tick,
        seconds=seconds,
        recreate=parsed.has("force-recreate"),
        patience=patience(parsed),
    )
    up.bring(tuple(runnables), until_ready=parsed.has("wait"))


def runnable(parsed: Parsed, project: Project, name: str, witness: Watching | None = None) -> Runnable:
    """What a service's container runs, built or pulled first. Raises whatever that does, or `Reported`."""
    from buildkit_py.api.project_image import image
    from buildkit_py.cli.progress import if_busy, kind_of, shown

    service = project.service(name)
    assert service is not None
    build = not parsed.has("no-build")
    return shown(
        kind_of(parsed),
        lambda emit: image(project, service, if_busy(emit), caches=_with_caches, witness=witness, build=build),
    )


def _with_caches(request: BuildRequest, service: Service) -> BuildRequest:
    """A build's request with the portable caches that its `cache_from` and `cache_to` name."""
    from buildkit_py.cli.cache_spec import cache_spec
    from buildkit_py.errors import ComposeError

    build = service.build
    if build is None or not (build.cache_from or build.cache_to):
        return request
    try:
        return request.replace(
            cache_from=tuple([cache_spec(text, "--cache-from", request.context) for text in build.cache_from]),
            cache_to=tuple([cache_spec(text, "--cache-to", request.context) for text in build.cache_to]),
        )
    except UsageError as problem:
        raise ComposeError(problem.message, at=build.at, hint=problem.hint) from problem


def _orphans(parsed: Parsed, project: Project) -> None:
    """Say, or remove, what is left of services that the files do not have any more."""
    from buildkit_py.api.project import members, take_down

    known = {one.name for one in (*project.services, *project.disabled)}
    found = [one for one in members(project.name) if one.service not in known]
    if found and parsed.has("remove-orphans"):
        take_down(found, seconds=patience(parsed), ended=lambda one: tell(one.service, "ended"))
    elif found:
        from buildkit_py.cli.notices import say
        from buildkit_py.events import Notice

        names = ", ".join(f"`{one.service}`" for one in found)
        say(
            Notice(
                "warning",
                f"the project has containers of services that its files do not have: {names}",
                hint="`--remove-orphans` removes them",
            )
        )
