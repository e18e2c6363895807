"""From a service of a compose file to the requests that its image is built and its container is started by."""

from __future__ import annotations

import hashlib
import os

from buildkit_py.api.make_container import Detached
from buildkit_py.api.project_network import PREFIX
from buildkit_py.api.request import BuildRequest, Secret, Ssh, WantedTarget
from buildkit_py.errors import ComposeError, ContextError, UsageError
from buildkit_py.frontend.compose.builds import is_address
from buildkit_py.frontend.compose.resources import DEFAULT
from buildkit_py.frontend.compose.unnamed_volumes import unnamed_volume
from buildkit_py.frontend.files import NAMES
from buildkit_py.image.config import Healthcheck
from buildkit_py.runner.container import volume_paths
from buildkit_py.runner.published import DEFAULT_ADDRESS, Published
from buildkit_py.runner.request import Bounds, RunRequest, tmpfs_mount
from buildkit_py.runner.restart import parse_restart
from buildkit_py.runner.rights import LEAST_MEMORY, capabilities, check_ulimit, security
from buildkit_py.sandbox import ulimits
from buildkit_py.sandbox.capabilities import mask
from buildkit_py.sandbox.signal_number import signal_number
from buildkit_py.sandbox.spec import SandboxMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildkit_py.frontend.compose.project import Build, BuildSecret, GivenFile, Mount, Project, Service
    from buildkit_py.image.config import ImageConfig
    from buildkit_py.runner.memo import Runnable
    from buildkit_py.source_map import Position

_FILE_MODE = 0o444
_UNLIMITED = -1


def container_name(project: str, service: Service) -> str:
    """What the one container of a service is called."""
    return service.container_name or f"{project}-{service.name}-1"


def image_name(project: str, service: Service) -> str:
    """What a service's image is called, for people and where it is built with a tag."""
    return service.image or f"{project}-{service.name}"


def requests(project: Project, service: Service, store: str = "") -> tuple[RunRequest, Detached]:
    """What a service's container is. Raises `ComposeError` with its place for what cannot be had."""
    try:
        return _run_request(project, service, store), _detached(project, service)
    except UsageError as problem:
        raise ComposeError(f"`{service.name}`: {problem.message}", at=service.at, hint=problem.hint) from problem


def verify(project: Project, names: Iterable[str]) -> None:
    """Raise what `requests` raises for any of these services: before anything is built, or started."""
    for service in project.services:
        if service.name in names:
            requests(project, service)


def with_image_volumes(
    project: Project, service: Service, request: RunRequest, config: ImageConfig
) -> tuple[RunRequest, tuple[str, ...]]:
    """The request with an unnamed volume at each VOLUME of its image that nothing else is mounted at; their names.

    As with docker compose what is there outlives a container that is replaced.
    """
    taken = {target for _, target, _ in request.volumes} | {mount.target for mount in request.tmpfs}
    more = {
        path: unnamed_volume(project.name, service.name, path) for path in volume_paths(config) if path not in taken
    }
    volumes = [(name, path, False) for path, name in more.items()]
    return request.replace(volumes=(*request.volumes, *volumes)), tuple(more.values())


def fingerprint(request: RunRequest, wanted: Detached, runnable: Runnable, *more: object) -> str:
    """A digest of all that a container is made from, and of what `more` it knows of itself: another one means that it
    has to be replaced.
    """
    # The same image has its layers under other ids where it was built than where it is taken by its name.
    runs = runnable.image or runnable
    # A record's text has all its fields.
    said = repr((request.replace(store="", pull=False), wanted, runs, *more))
    return hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()


def _detached(project: Project, service: Service) -> Detached:
    return Detached(
        name=container_name(project.name, service),
        restart=parse_restart(service.restart),
        stop_signal=signal_number(service.stop_signal) if service.stop_signal else 0,
        patience=service.patience,
    )


def _run_request(project: Project, service: Service, store: str) -> RunRequest:
    no_new_privileges, seccomp = security(service.security_opt, "security_opt: ")
    if 0 < service.memory < LEAST_MEMORY:
        raise UsageError("its memory is too little to start in", hint="6m is the least")
    volumes = [_volume(mount) for mount in service.mounts if mount.kind != "tmpfs"]
    volumes += [(given.source, given.target, True) for given in service.files if given.source and given.owner is None]
    files = [_file(given) for given in service.files if not given.source or given.owner is not None]
    return RunRequest(
        what=image_name(project.name, service),
        command=service.command,
        entrypoint=service.entrypoint,
        env=service.environment,
        volumes=tuple(volumes),
        workdir=service.working_dir,
        user=service.user,
        hostname=service.hostname,
        network=service.mode or f"{PREFIX}{network_of(project, service)}",
        aliases=_aliases(project, service) if not service.mode else (),
        ports=published_ports(service),
        read_only=service.read_only,
        terminal=service.terminal,
        init=service.init,
        hosts=service.hosts,
        pull=service.pull == "always",
        store=store,
        bounds=Bounds(service.memory, service.cpus, service.pids),
        capabilities=capabilities(RunRequest("").capabilities, _mask(service.cap_add), _mask(service.cap_drop)),
        seccomp=seccomp,
        no_new_privileges=no_new_privileges,
        tmpfs=(*[tmpfs_mount(mount.tmpfs) for mount in service.mounts if mount.tmpfs is not None], *files),
        shm=service.shm,
        ulimits=tuple([_ulimit(name, soft, hard) for name, soft, hard in service.ulimits]),
        health=service.healthcheck or Healthcheck(),
    )


def network_of(project: Project, service: Service) -> str:
    """The name of the network that a service is on, "" where it is on none of the project.

    Those that a service is on are one; that of a project that names none has its name.
    """
    names = {one.network for one in service.networks}
    if not names:
        return ""
    joined = next(one for one in project.networks if names <= set(one))
    return project.name if DEFAULT in joined else project_networks(project.name) + ".".join(joined)


def project_networks(project: str) -> str:
    """What the names of all networks of a project begin with but for that of the one that has the project's name."""
    return f"{project}."  # which no name of a project has


def seats(project: Project) -> dict[str, dict[str, tuple[str, ...]]]:
    """By network: the names of the containers on it, with those that the others find each under."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for service in project.services:
        if network := network_of(project, service):
            names = _aliases(project, service)
            found.setdefault(network, {})[container_name(project.name, service)] = names
    return found


def _aliases(project: Project, service: Service) -> tuple[str, ...]:
    names = [service.name, container_name(project.name, service)]
    names += [alias for one in service.networks for alias in one.aliases]
    return tuple(dict.fromkeys(names))


def _mask(names: Sequence[str]) -> int:
    found = 0
    for name in names:
        try:
            found |= mask(name)
        except KeyError:
            raise UsageError(f"`{name}` is no capability", hint="capabilities(7) lists them") from None
    return found


def _ulimit(name: str, soft: int, hard: int) -> tuple[str, int, int, int]:
    lower, upper = (ulimits.UNLIMITED if one == _UNLIMITED else one for one in (soft, hard))
    check_ulimit(name, upper)
    return name, ulimits.number(name), lower, upper


def published_ports(service: Service) -> tuple[Published, ...]:
    """Where this machine is to reach a service."""
    return tuple(
        [Published(one.host_ip or DEFAULT_ADDRESS, one.published, one.target, one.protocol) for one in service.ports]
    )


def _volume(mount: Mount) -> tuple[str, str, bool]:
    return mount.source, mount.target, mount.read_only


def _unset(what: str, variable: str, at: Position) -> ComposeError:
    return ComposeError(
        f"{what} is to come from `${variable}`, which is not set", at=at, hint="set it in the environment or in `.env`"
    )


def _secret(given: BuildSecret) -> Secret:
    if given.missing:
        raise _unset(f"the secret `{given.id}`", given.missing, given.at)
    return Secret(given.id, given.file) if given.file else Secret(given.id, data=given.data)


def _file(given: GivenFile) -> SandboxMount:
    if given.missing:
        raise _unset(f"`{given.target}`", given.missing, given.at)
    data = given.data.encode("utf-8", "surrogateescape")
    if given.source:
        try:
            with open(given.source, "rb") as file:
                data = file.read()
        except OSError as problem:
            raise ComposeError(f"`{given.source}` could not be read: {problem.strerror}", at=given.at) from problem
    uid, gid, mode = given.owner or (0, 0, _FILE_MODE)
    return SandboxMount("file", given.target, data=data, mode=mode, uid=uid, gid=gid)


def make_sources(service: Service) -> None:
    """Make the directories of this machine that a service's mounts may make. Raises `ComposeError`, also for a file
    or a socket that is not there.
    """
    for mount in service.mounts:
        if mount.kind != "bind" or os.path.exists(mount.source):
            continue
        if not mount.create:
            raise ComposeError(f"there is no `{mount.source}`", at=mount.at)
        if mount.source.endswith(".sock"):  # a directory of that name would be in the way of who listens there later
            hint = "start what listens there, or leave the mount out; pybuild itself is no daemon, and has none"
            raise ComposeError(f"there is no socket `{mount.source}`", at=mount.at, hint=hint)
        try:
            os.makedirs(mount.source)
        except OSError as problem:
            raise ComposeError(f"`{mount.source}` cannot be made: {problem.strerror}", at=mount.at) from problem
    for given in service.files:
        if given.source and not os.path.isfile(given.source):
            raise ComposeError(f"there is no file `{given.source}`", at=given.at)


def build_request(project: Project, service: Service, inline: str, store: str = "") -> BuildRequest:
    """How a service's image is built; `inline` is the file that has the text of `dockerfile_inline`.

    Caches are left to whoever reads their forms. Raises `ComposeError`.
    """
    build = service.build
    assert build is not None
    remote = is_address(build.context)
    file = inline or (build.dockerfile if remote else _file_of(build))
    named = (image_name(project.name, service),) if service.image else ()
    python = file.endswith(".py")
    return BuildRequest(
        file=file,
        context="" if remote else build.context,
        remote=build.context if remote else "",
        targets=(WantedTarget(build.target, build.args if python else ()),),
        build_args=() if python else build.args,
        build_contexts=build.contexts,
        secrets=tuple([_secret(one) for one in build.secrets]),
        ssh=tuple([_ssh(text, build) for text in build.ssh]),
        tags=tuple(dict.fromkeys((*named, *build.tags))),
        labels=build.labels,
        hosts=build.hosts,
        platform=build.platform,
        network=build.network,
        allow=build.entitlements,
        no_cache=build.no_cache,
        pull=build.pull or service.pull == "always",
        store=store,
    )


def _file_of(build: Build) -> str:
    """The absolute path of the Buildfile."""
    if not os.path.isdir(build.context):
        raise ComposeError(f"there is no directory `{build.context}`", at=build.at)
    if build.dockerfile:
        path = os.path.normpath(os.path.join(build.context, build.dockerfile))
        if not os.path.isfile(path):
            raise ComposeError(f"there is no Buildfile `{path}`", at=build.at)
        return path
    # A Buildfile.py is a program that would run here: none does that was not named.
    names = [name for name in NAMES if not name.endswith(".py")]
    for name in names:
        path = os.path.join(build.context, name)
        if os.path.isfile(path):
            return path
    hint = f"one of {', '.join([f'`{name}`' for name in names])} is looked for"
    if any(os.path.isfile(os.path.join(build.context, name)) for name in NAMES):
        hint = "a `Buildfile.py` is a program, and runs where it is named: `dockerfile: Buildfile.py`"
    raise ComposeError(f"`{build.context}` has no Buildfile", at=build.at, hint=hint)


def _ssh(text: str, build: Build) -> Ssh:
    """`default` or another id, which is the agent of `$SSH_AUTH_SOCK`, or `ID=PATH[,PATH…]` with absolute paths."""
    name, _, rest = text.partition("=")
    if rest:
        paths = tuple(rest.split(","))
        missing = [one for one in paths if not os.path.exists(one)]
        if missing:
            raise ContextError(
                f"the ssh agent `{name}` is to come from `{missing[0]}`, which is not there", at=build.at
            )
        return Ssh(name, keys=paths) if all(os.path.isfile(one) for one in paths) else Ssh(name, socket=paths[0])
    socket = os.environ.get("SSH_AUTH_SOCK", "")
    if not socket:
        raise ComposeError(f"`ssh: {text}` is the agent of `$SSH_AUTH_SOCK`, which is not set", at=build.at)
    return Ssh(name, socket=socket)
