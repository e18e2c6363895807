"""Services of steps, for both doors: what container a stage makes, and the step that fills it with data once."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.assemble import DEFAULT_SHELL, files_of
from buildkit_py.graph.op import Run, Service
from buildkit_py.graph.step import Step
from buildkit_py.image.config import setenv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.frontend.assemble import Pairs, Settings, Stage
    from buildkit_py.graph.op import Mount
    from buildkit_py.source_map import Position

SEED_FILES = "/run/pybuild/seed"
"""Where a seed command finds the files that it is given."""

INIT_FILES = "/docker-entrypoint-initdb.d"
"""Where files lie that are the seed themselves: the entrypoints of databases' images run what they find there."""

TIMEOUT = 60_000
"""How many milliseconds a service has to become ready, unless it is told otherwise."""

STOP_SIGNAL = "SIGTERM"

# The longest label of a host's name (RFC 1035, 2.3.4); the kernel's own limit, for all labels, is one more (uname(2)).
_LONGEST_NAME = 63
# What every host calls itself (RFC 6761, 6.3), in /etc/hosts or without that.
_EVERYBODY = frozenset(("localhost", "ip6-localhost", "ip6-loopback"))


def check_name(name: str, position: Position | None) -> None:
    """Raise where a service, asked for at a place, could not be reached by a name, or not have it as its own."""
    said = ""
    if len(name) > _LONGEST_NAME:
        said = f"it has {len(name)} characters"
    elif name in _EVERYBODY or name.endswith(".localhost"):
        said = "every host calls itself so"
    if said:
        raise BuildfileError(
            f"`{name}` cannot be the name of a service: {said}",
            at=position,
            hint=f"give it another name, of at most {_LONGEST_NAME} characters",
        )


def port(text: str) -> int:
    """The port that a service listens on; 0 for none. Raises `ValueError`."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 0 < number < 1 << 16:
        raise ValueError(f"`{text}` is no port; it is a number from 1 to 65535")
    return number


def container(
    name: str,
    stage: Stage,
    *,
    env: Pairs = (),
    port: int = 0,
    ready: tuple[str, ...] = (),
    timeout: int = 0,
    position: Position | None = None,
) -> Service:
    """The container of a stage, as `pybuild run` would have it; its `source` is to be filled in.

    `position` is where it is asked for. Raises `BuildfileError` for a stage that says nothing to run.
    """
    config = stage.config
    argv = (*(config.entrypoint or ()), *(config.cmd or ()))
    if not argv:
        raise BuildfileError(
            f"the service `{name}` has nothing to run",
            at=position,
            hint="its image has neither an ENTRYPOINT nor a CMD; start it from a stage that has one",
        )
    variables = config.env
    for key, value in (("HOSTNAME", name), *env):
        variables = setenv(variables, key, value)
    return Service(
        name=name,
        source=-1,
        argv=argv,
        env=variables,
        cwd=config.working_dir or "/",
        user=config.user,
        port=port,
        ready=ready or _healthy(stage),
        timeout=timeout or TIMEOUT,
        stop_signal=config.stop_signal or STOP_SIGNAL,
    )


def _healthy(stage: Stage) -> tuple[str, ...]:
    """The command of the image's health check, where it has one."""
    check = stage.config.healthcheck
    match check.test if check is not None else ():
        case ("CMD", *argv) if argv:
            return tuple(argv)
        case ("CMD-SHELL", text):
            return (*(stage.config.shell or DEFAULT_SHELL), text)
    return ()


def seeded(
    stage: Stage,
    service: Service,
    command: tuple[str, ...],
    *,
    mounts: tuple[Mount, ...] = (),
    sources: tuple[Step, ...] = (),
    shown: str = "",
    position: Position | None = None,
) -> Step:
    """The filesystem of a service that ran once on its stage's, and what it and a command in it wrote there.

    `command` () is none: the service itself takes what is mounted. Raises `BuildfileError` for one that would be
    stopped before it could.
    """
    if not command and not (service.port or service.ready):
        raise BuildfileError(
            f"nothing says when the service `{service.name}` has taken the files that it is seeded with",
            at=position,
            hint="give it `port`, which opens when that is done, or `ready`",
        )
    op = Run(
        argv=command,
        env=service.env,
        cwd=service.cwd,
        user=service.user,
        hostname=service.name,
        platform=stage.platform,
        mounts=mounts,
        seeds=service,
        ignore_cache=stage.ignore_cache,
    )
    return Step(op, files_of(stage), sources, f"[service {service.name}] SEED {shown}".rstrip(), stage.name, position)


def check_step(settings: Settings, network: str, names: Iterable[str], position: Position | None) -> None:
    """Raise where a step asks for services that it would not reach: from its network, or for a name that it has itself.

    `network` is what the step says, `settings` what is said for all steps.
    """
    names = tuple(names)
    wanted = network if network != "default" or settings.network == "host" else settings.network
    if wanted != "default":
        raise BuildfileError(
            f"on the network `{wanted}` a step does not reach its services ({', '.join(names)})",
            at=position,
            hint="without `network` a step with services is on the isolated network, which they are on"
            if network != "default"
            else "--network=none, PYBUILD_NETWORK or `network` of the configuration says so; services need `isolated`",
        )
    if (own := settings.hostname.lower()) in names:
        raise BuildfileError(
            f"the step itself is called `{own}`, as one of its services",
            at=position,
            hint="give the service another name, or the steps, with --build-arg BUILDKIT_SANDBOX_HOSTNAME=NAME",
        )
