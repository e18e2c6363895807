"""A container: the sandbox spec that an image's configuration and a run request make together.

What it gets is what `docker run` gives: docker's order of precedence for the
command, docker's environment, and /etc/hosts, /etc/hostname and
/etc/resolv.conf of its own, which it may write to unless its root is read-only.
"""

from __future__ import annotations

import os

from buildkit_py.errors import UsageError
from buildkit_py.image.config import DEFAULT_PATH, setenv
from buildkit_py.sandbox.resolv import hosts_file
from buildkit_py.sandbox.spec import RootFilesystem, SandboxMount, SandboxSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.image.config import ImageConfig
    from buildkit_py.runner.request import RunRequest
    from buildkit_py.sandbox.network.choice import Choice

_ETC = "/etc"
_HOSTNAME = f"{_ETC}/hostname"
# Said as a number: root has the groups then that /etc/group gives it, as under docker and other than in a step.
_ROOT = "0"


def container_spec(
    config: ImageConfig, request: RunRequest, root: RootFilesystem, hostname: str, networks: Choice
) -> SandboxSpec:
    """The spec of the sandbox, on the one of `networks` that is asked for. Raises `UsageError` where there is nothing
    to run, and `SandboxError` where an init program is wanted and this machine has none.

    `root` has a writable upper even where the request says read-only: mount points that the image
    lacks are made there.
    """
    network = networks.network(request.network)
    command = argv(config, request)
    asked = _asked_mounts(request)
    mounts = [*_image_volumes(config, request, root), *asked]
    # As docker has it, the files of its own lie over what is mounted at all of /etc.
    mounts.sort(key=lambda mount: mount.target != _ETC)
    below_etc = sum([mount.target == _ETC for mount in mounts])
    if all(mount.target != _HOSTNAME for mount in asked):
        mounts.append(_hostname_file(hostname, read_only=request.read_only))
    if request.init:
        from buildkit_py.runner.init_program import with_init

        command, init = with_init(command, [mount.target for mount in mounts])
        mounts.append(init)
    return SandboxSpec(
        root=root,
        argv=command,
        env=environment(config, request, hostname),
        cwd=request.workdir or config.working_dir or "/",
        user=request.user or config.user or _ROOT,
        hostname=hostname,
        network=network,
        mounts=tuple(mounts),
        below_etc=below_etc,
        hosts=hosts_file(hostname, request.hosts),
        resolv_conf=networks.resolv_conf(network),
        writable_etc=not request.read_only,
        terminal=request.terminal,
        read_only_root=request.read_only,
        directories=_own_volumes(config, request) if config.volumes and not request.read_only else (),
        capabilities=request.capabilities,
        seccomp=request.seccomp,
        no_new_privileges=request.no_new_privileges,
        shm=request.shm,
        ulimits=request.ulimits,
        open_ports=True,
    )


def argv(config: ImageConfig, request: RunRequest) -> tuple[str, ...]:
    """Entrypoint and command: given ones replace the image's, and a given entrypoint drops the image's command."""
    if request.entrypoint is not None:
        words = request.entrypoint + request.command
    else:
        words = (config.entrypoint or ()) + (request.command or config.cmd or ())
    if not words:
        raise UsageError(f"`{request.what}` says nothing to run", hint="give a command behind the image")
    return words


def environment(config: ImageConfig, request: RunRequest, hostname: str) -> tuple[tuple[str, str], ...]:
    """The variables: docker's own, over them the image's, over these the request's."""
    env: tuple[tuple[str, str], ...] = (("PATH", DEFAULT_PATH), ("HOSTNAME", hostname))
    if request.terminal:
        env = (*env, ("TERM", "xterm"))
    for name, value in (*config.env, *request.env):
        env = setenv(env, name, value)
    return env


def _asked_mounts(request: RunRequest) -> tuple[SandboxMount, ...]:
    mounts = [SandboxMount("bind", target, source=source, read_only=only) for source, target, only in request.volumes]
    mounts += request.tmpfs
    # Shallow ones first: a mount would hide those that were made below it before.
    mounts.sort(key=lambda mount: mount.target.count("/"))
    return tuple(mounts)


def _image_volumes(config: ImageConfig, request: RunRequest, root: RootFilesystem) -> tuple[SandboxMount, ...]:
    """The image's VOLUMEs, where they differ from the rest: with a read-only root they are still written to."""
    if not request.read_only:
        return ()
    return tuple(
        SandboxMount("tree", path, layers=root.layers, path=path, read_only=False)
        if _exists(root, path)
        else SandboxMount("tmpfs", path, read_only=False)
        for path in _own_volumes(config, request)
    )


def volume_paths(config: ImageConfig) -> tuple[str, ...]:
    """The absolute paths of an image's VOLUMEs."""
    paths = {"/" + os.path.normpath(f"/{path}").lstrip("/") for path in config.volumes}
    return tuple(sorted(paths - {"/"}))


def _own_volumes(config: ImageConfig, request: RunRequest) -> tuple[str, ...]:
    """Those where nothing else is mounted: what is written there is in the container's layer."""
    taken = {mount.target for mount in _asked_mounts(request)}
    return tuple([path for path in volume_paths(config) if path not in taken])


def _exists(root: RootFilesystem, path: str) -> bool:
    from buildkit_py.image.union import Union

    return Union(root.layers).lookup(path) is not None


def _hostname_file(hostname: str, *, read_only: bool) -> SandboxMount:
    data = f"{hostname}\n".encode()
    return SandboxMount("file", _HOSTNAME, data=data, mode=0o644, read_only=read_only)
