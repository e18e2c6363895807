"""Writing an OCI bundle: an image or a target as a plain tree, with the config.json of a container of it.

What config.json says comes from the spec that `run` would start. What lies in
the store while pybuild runs a container lies in the bundle here, so it can be
taken elsewhere: the tree in `rootfs/`, the files of /etc in `files/`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from buildkit_py.api.run import buildfile_place, built_runnable, image_runnable, layer_directories
from buildkit_py.api.session import Session
from buildkit_py.errors import ExportError, UsageError
from buildkit_py.record import Record
from buildkit_py.sandbox.failure import SetupFailure
from buildkit_py.sandbox.oci.config import BundleMount, Place, refuse_links, runtime_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.events import Emit
    from buildkit_py.runner.memo import Runnable
    from buildkit_py.runner.request import Bounds, RunRequest
    from buildkit_py.sandbox.spec import SandboxMount, SandboxSpec
    from buildkit_py.sandbox.userns import Identity

_PARTS = ("config.json", "files", "rootfs")


class Bundle(Record):
    """What was written into `directory`: `files` files of `bytes` bytes. `left_out` are devices, which need root."""

    directory: str
    files: int
    bytes: int
    left_out: tuple[str, ...]


def write_bundle(request: RunRequest, directory: str, emit: Emit) -> Bundle:
    """Write the bundle of what a request would run into `directory`, which is made, or empty; so it is again after an
    error.

    Raises `ExportError` where it cannot be written, `UsageError` for a request that a bundle cannot hold, and
    whatever building and pulling do.
    """
    _check(request, directory)
    place = buildfile_place(request.what)
    built = built_runnable(request, *place, emit) if place is not None else None
    with Session(request.store) as session:
        try:
            runnable = image_runnable(request, session, emit) if built is None else built
            with _whole_or_not(directory):
                return _write(request, session, runnable, directory, emit)
        except SetupFailure as failure:
            from buildkit_py.sandbox.launch import launch_error

            raise launch_error(failure.stage, failure.errno, failure.subject) from failure
        except OSError as problem:
            raise ExportError(f"the bundle cannot be written: {problem.strerror}", at=directory) from problem


def _check(request: RunRequest, directory: str) -> None:
    if request.network == "isolated":
        raise UsageError(
            "a bundle cannot bring an isolated network along", hint="--network=none has its own, for others to connect"
        )
    for source, target, _ in request.volumes:
        if not source.startswith("/"):
            raise UsageError(
                f"a bundle cannot bring the volume `{source}` along", hint=f"name a directory: -v ./{source}:{target}"
            )
    if os.path.isdir(directory):
        try:
            is_empty = not os.listdir(directory)
        except OSError as problem:
            raise ExportError(f"the directory cannot be read: {problem.strerror}", at=directory) from problem
        if not is_empty:
            raise ExportError("the directory for the bundle is not empty", at=directory, hint="name a new one")
    elif os.path.lexists(directory):
        raise ExportError("the place for the bundle is taken by a file", at=directory, hint="name a new directory")


@contextmanager
def _whole_or_not(directory: str) -> Iterator[None]:
    """Whatever is raised within, of the bundle and the directories made for it nothing is left."""
    made = []
    above = os.path.abspath(directory)
    while not os.path.isdir(above):
        made.append(above)
        above = os.path.dirname(above)
    try:
        yield
    except BaseException:
        from buildkit_py.store.remove import remove_tree

        with suppress(OSError):  # what went wrong first is what is told
            for name in _PARTS:
                remove_tree(f"{directory}/{name}")
            for path in made:
                os.rmdir(path)
        raise


def _write(request: RunRequest, session: Session, runnable: Runnable, directory: str, emit: Emit) -> Bundle:
    from buildkit_py.exporter.local import export_local
    from buildkit_py.runner.container import container_spec
    from buildkit_py.sandbox.network.choice import Choice
    from buildkit_py.sandbox.spec import RootFilesystem

    for layer in runnable.layers:
        session.store.layers.use(layer)
    layers, host = layer_directories(session, runnable.layers, emit)
    if host:
        raise UsageError(f"`{request.what}` stands on this machine's own root, which no bundle can hold")
    spec = container_spec(
        runnable.config,
        request,
        RootFilesystem(layers=layers),
        request.hostname or os.urandom(6).hex(),
        Choice("none", lambda message, hint: None),  # apart from this machine's, as `run` has it
    )
    identity = session.identity
    # Set-uid programs of an image are nothing for other users; but what was there is as open as its owner likes.
    os.makedirs(directory, 0o700, exist_ok=True)
    root = f"{directory}/rootfs"
    copied = export_local(
        layers, root, privileged=identity.privileged, mapped=identity.userns and not identity.single_id
    )
    own = _mounts(spec, directory)
    mounts = (*own[: spec.below_etc], *_etc(spec, directory), *own[spec.below_etc :])
    _write_file(f"{directory}/config.json", _config(spec, root, mounts, identity, request.bounds), 0o644)
    return Bundle(directory, copied.files, copied.bytes, copied.left_out)


def _config(spec: SandboxSpec, root: str, mounts: tuple[BundleMount, ...], identity: Identity, bounds: Bounds) -> bytes:
    from buildkit_py.sandbox import passwd
    from buildkit_py.sandbox.ground import TTY_GROUP, is_mapped, open_ports
    from buildkit_py.sandbox.init import environment
    from buildkit_py.sandbox.userns import id_map

    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        refuse_links(fd)
        user = passwd.look_up(fd, spec.user)
    finally:
        os.close(fd)
    opened = open_ports() if spec.open_ports and spec.network == "none" else {}
    # As their parent sees them: whoever runs the bundle starts from there.
    uids = tuple(id_map("uid")) if identity.userns else ()
    gids = tuple(id_map("gid")) if identity.userns else ()
    place = Place(
        "rootfs",
        networks=spec.network == "none",
        machine_sys=identity.userns and spec.network != "none",
        uids=uids,
        gids=gids,
        tty_group=is_mapped(TTY_GROUP),
        groups=not identity.single_id,
        resources=(bounds.memory, bounds.cpus, bounds.pids),
        sysctls=tuple(opened.items()),
    )
    return runtime_config(spec, environment(spec, user), user, mounts, place)


def _etc(spec: SandboxSpec, directory: str) -> list[BundleMount]:
    out = []
    for target, data in (("/etc/hosts", spec.hosts), ("/etc/resolv.conf", spec.resolv_conf)):
        if data is not None:
            out.append(_file(directory, target, data, 0o644, read_only=not spec.writable_etc))
    return out


def _mounts(spec: SandboxSpec, directory: str) -> list[BundleMount]:
    out = []
    for mount in spec.mounts:
        access = "ro" if mount.read_only else "rw"
        if mount.kind == "file":
            out.append(_file(directory, mount.target, mount.data, mount.mode, read_only=mount.read_only))
        elif mount.kind == "bind":
            out.append(BundleMount(mount.target, mount.source, ("rbind", "nodev", access)))
        elif mount.kind == "tree":  # a volume of the image: its files are in the tree already
            out.append(BundleMount(mount.target, f"rootfs{mount.path}", ("rbind", "nodev", access)))
        else:
            out.append(BundleMount(mount.target, "", _tmpfs_options(mount, access)))
    return out


def _tmpfs_options(mount: SandboxMount, access: str) -> tuple[str, ...]:
    size = (f"size={mount.limit}",) if mount.limit else ()
    execution = () if mount.executable else ("noexec",)
    return (
        "nosuid",
        "nodev",
        access,
        *execution,
        f"mode={mount.mode:o}",
        f"uid={mount.uid}",
        f"gid={mount.gid}",
        *size,
    )


def _file(directory: str, target: str, data: bytes, mode: int, *, read_only: bool) -> BundleMount:
    name = f"files{target}"
    os.makedirs(os.path.dirname(f"{directory}/{name}"), exist_ok=True)
    _write_file(f"{directory}/{name}", data, mode)
    return BundleMount(target, name, ("bind", "nosuid", "nodev", "noexec", "ro" if read_only else "rw"))


def _write_file(path: str, data: bytes, mode: int) -> None:
    with open(path, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
