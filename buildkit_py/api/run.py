"""Running an image or a target in the foreground: from a request to an exit code."""

from __future__ import annotations

import os

from buildkit_py.config import load
from buildkit_py.errors import ContextError, UsageError
from buildkit_py.sandbox.foreground import Foreground
from buildkit_py.sandbox.network.choice import Choice
from buildkit_py.sandbox.spec import Outline, RootFilesystem
from buildkit_py.sandbox.userns import enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.api.request import TargetResult
    from buildkit_py.api.session import Session
    from buildkit_py.config import Config
    from buildkit_py.events import Emit
    from buildkit_py.executor.materialize import Trees
    from buildkit_py.runner.memo import Runnable
    from buildkit_py.runner.publication import Publication
    from buildkit_py.runner.published import Published
    from buildkit_py.runner.request import RunRequest
    from buildkit_py.sandbox.launch import Launcher, Sandbox
    from buildkit_py.sandbox.limits import Limits
    from buildkit_py.sandbox.oci.runtimes import Runtime
    from buildkit_py.sandbox.spec import SandboxSpec
    from buildkit_py.store.work import WorkDir

# What a Buildfile may be called, so that a file named like an image does not stand in for it.
_FILES = ("Buildfile", "Dockerfile", "dockerfile", "Containerfile")


class Container:
    """A container that is ready to start. `run` is called once; it releases what was held.

    `out_of_memory` is whether it then failed, and the kernel had killed something in it for want of its own memory.
    """

    def __init__(
        self,
        request: RunRequest,
        session: Session,
        work: WorkDir,
        spec: SandboxSpec,
        starter: Foreground | Launcher,
        limits: Limits | None,
        publication: Publication | None,
        release: Callable[[], None],
    ) -> None:
        self.spec = spec
        self._publication = publication
        self.out_of_memory = False
        self._limits = limits
        self._release = release
        self._request = request
        self._session = session
        self._work = work
        self._starter = starter

    def run(self) -> int:
        """Run it to its end; its exit code. Raises `SandboxError` where it cannot be set up."""
        from buildkit_py.runner.foreground import Forwarding, run_in_foreground

        interactive = self._request.interactive
        with Forwarding() as forwarding, self._session:
            try:
                start = self._starter.spawn if self._publication is None else self._published
                code = run_in_foreground(start, self.spec, forwarding, interactive=interactive)
                self.out_of_memory = code != 0 and self._limits is not None and self._limits.out_of_memory()
                return code
            finally:
                if self._publication is not None:
                    self._publication.close()
                self._work.discard()
                self._starter.close()
                if self._limits is not None:
                    self._limits.remove()
                self._release()

    def _published(self, spec: SandboxSpec, *, stdin: int, stdout: int, stderr: int) -> Sandbox:
        assert self._publication is not None
        sandbox = self._starter.spawn(spec, stdin=stdin, stdout=stdout, stderr=stderr)
        self._publication.begin(sandbox)
        return sandbox


def run(request: RunRequest, emit: Emit) -> int:
    """Run what a request says; its exit code. Raises as `prepare` does."""
    return prepare(request, emit).run()


def prepare(request: RunRequest, emit: Emit) -> Container:
    """Build, pull and unpack what has to be, which `emit` hears of; the container, not yet started.

    Raises whatever building does, `ImageNotFound` and other `SourceError`s, `UsageError`, `StoreError`,
    `SandboxError`.
    """
    runtime = _runtime(request, emit)
    check_ports(request)
    place = buildfile_place(request.what)
    if place is None:
        return _first_of_all(request, runtime, lambda session: image_runnable(request, session, emit), emit)
    built = built_runnable(request, *place, emit)
    from buildkit_py.api.session import Session

    # The build's threads are gone, but not for certain; a fork server forks from a process that never had any.
    session = Session(request.store, sandboxes=True)
    networks = network_choice(session.config, emit)
    limits: Limits | None = None
    try:
        if networks.network(request.network) == "isolated":
            session.launcher().connect(networks.plan())
        limits = request.bounds.enforce()
        return _container(request, runtime, session, built, emit, session.launcher(), networks, limits)
    except BaseException:
        if limits is not None:
            limits.remove()
        session.__exit__(None, None, None)
        raise


def prepare_built(request: RunRequest, built: Runnable, emit: Emit) -> Container:
    """The container of a target that another process built, not yet started. Raises as `prepare` does."""
    return _first_of_all(request, _runtime(request, emit), lambda _: built, emit)


def check_ports(request: RunRequest) -> None:
    """Raise `UsageError` where a port is taken that is to be published, and `SandboxError` where it cannot be had."""
    if request.ports:
        from buildkit_py.runner.publication import check_free

        check_free(request.ports, ports_of_containers(request.store))


def ports_of_containers(store: str) -> Callable[[int, str], str]:
    """Who has a port of this machine: the name of a container of the store, "" where it is none of them."""

    def container_at(port: int, protocol: str) -> str:
        from buildkit_py.store.store import Store

        containers = Store.open(store).containers
        for about in containers.all():
            for _, host_port, _, kind in containers.state(about.id).ports:
                if (host_port, kind) == (port, protocol):
                    return about.name
        return ""

    return container_at


def _first_of_all(
    request: RunRequest, runtime: Runtime | None, runnable: Callable[[Session], Runnable], emit: Emit
) -> Container:
    """The container in a process that has done nothing yet, and so has no threads."""
    config = load(os.environ)
    enter()
    networks = network_choice(config, emit)
    starter = Foreground()
    limits: Limits | None = None
    session: Session | None = None
    try:
        network = networks.network(request.network)
        limits = request.bounds.enforce()
        groups = limits.directories if limits is not None else ()
        if network == "isolated":
            starter.connect(networks.plan(), hurry=True)
        # While network and sandbox get ready, the image is looked up, and what that takes is loaded.
        if runtime is None:
            starter.begin(Outline(network, request.capabilities, groups, request.shm))
        from buildkit_py.api.session import Session

        session = Session(request.store, config=config)
        return _container(request, runtime, session, runnable(session), emit, starter, networks, limits)
    except BaseException:
        starter.close()
        if limits is not None:
            limits.remove()
        if session is not None:
            session.__exit__(None, None, None)
        raise


def buildfile_place(what: str) -> tuple[str, str] | None:
    """The absolute path of a Buildfile and the target ("" for the default one) that `FILE[:TARGET]` names.

    None where `what` is an image's name. A path begins with `/`, `./` or `../`, or its last part is called
    like a Buildfile. Raises `ContextError` for a path that leads to no file.
    """
    file, _, target = what.partition(":")
    name = file.rpartition("/")[2]
    is_path = file.startswith(("/", "./", "../"))
    if not is_path and not (name.startswith(_FILES) or name.endswith(".py")):
        return None
    if os.path.isfile(file):
        return os.path.abspath(file), target
    if is_path:
        raise ContextError(f"there is no file `{file}`", hint="write FILE:TARGET, or the name of an image")
    return None


def built_runnable(request: RunRequest, file: str, target: str, emit: Emit) -> Runnable:
    """What a target runs, built first. Raises whatever building does, and `UsageError` for several targets."""
    from buildkit_py.api.build import build
    from buildkit_py.api.request import BuildRequest, WantedTarget

    wanted = BuildRequest(
        file=file,
        context=os.path.dirname(file),
        targets=(WantedTarget(target),),
        pull=request.pull,
        store=request.store,
    )
    built = build(wanted, emit).targets
    if len(built) != 1:
        raise UsageError(f"`{request.what}` is {len(built)} targets", hint="name one of them: FILE:TARGET")
    return runnable_of(built[0], request.store)


def runnable_of(built: TargetResult, store: str) -> Runnable:
    """What of a built target a container is made from. `store` is the directory of the store, "" for the usual one."""
    from buildkit_py.image.config import ImageConfig
    from buildkit_py.runner.memo import Runnable
    from buildkit_py.store.store import Store

    layers = Store.open(store).snapshots.layers(built.snapshot) if built.snapshot else ()
    return Runnable(layers, built.config or ImageConfig(), built.image, built.document)


def image_runnable(request: RunRequest, session: Session, emit: Emit) -> Runnable:
    """What an image runs, resolved first where it is not here. Raises `SourceError`s and `StoreError`."""
    from buildkit_py.digest import is_sha256
    from buildkit_py.image import reference
    from buildkit_py.runner.memo import recall

    store = session.store
    digest = None
    if is_sha256(request.what):
        digest = request.what
    elif not request.pull and "://" not in request.what:
        try:
            digest = store.images.get(str(reference.parse(request.what)))
        except UsageError:
            from buildkit_py.api.images import find

            digest = find(request.what, store.root).digest
    if digest is not None:
        known = recall(store, digest)
        # `prune` takes layers under the ids of an image, where only builds need them; `_resolve` finds them again.
        if known is not None and all(
            store.layers.trees(layer) or store.layers.present(layer) for layer in known.layers
        ):
            return known.replace(image=digest)
    return _resolve(request, session, emit, digest)


def _resolve(request: RunRequest, session: Session, emit: Emit, digest: str | None) -> Runnable:
    from buildkit_py.errors import ImageNotFound
    from buildkit_py.registry.resolve import load_image
    from buildkit_py.runner.memo import Runnable, remember

    found = load_image(session.store, digest) if digest is not None else None
    if found is None:
        try:
            found = session.resolver().resolve(request.what, pull=request.pull)
        except ImageNotFound:
            if "://" in request.what:
                raise
            # A name that only looks like one may be the beginning of a digest, which no registry knows.
            from buildkit_py.api.images import find

            found = load_image(session.store, find(request.what, session.store.root).digest)
            if found is None:
                raise
    runnable = Runnable(found.layers, found.document.config)
    remember(session.store, found.digest, runnable)
    return runnable.replace(image=found.digest)


def network_choice(config: Config, emit: Emit) -> Choice:
    """Which networks containers get here, of which `emit` hears where they are not what they should be."""

    def warn(message: str, hint: str) -> None:
        from buildkit_py.events import Notice

        emit(Notice("warning", message, hint=hint))

    return Choice(config.run_network, warn)


def _runtime(request: RunRequest, emit: Emit) -> Runtime | None:
    """What is to run the container in our place. Asked before anything is built or pulled, which may take long."""
    if not request.runtime:
        return None
    from buildkit_py.sandbox.oci.runtimes import find_runtime

    found = find_runtime(request.runtime)
    if found.advice:
        from buildkit_py.events import Notice

        emit(Notice("warning", found.advice, hint=f"leave `--runtime` out, or use a newer {found.kind}"))
    return found


def _container(
    request: RunRequest,
    runtime: Runtime | None,
    session: Session,
    runnable: Runnable,
    emit: Emit,
    starter: Foreground | Launcher,
    networks: Choice,
    limits: Limits | None,
) -> Container:
    from buildkit_py.runner.container import container_spec
    from buildkit_py.store.work import make_root

    store = session.store
    for layer in runnable.layers:
        store.layers.use(layer)
    directories, host = layer_directories(session, runnable.layers, emit)
    work = store.work_dir("run")
    release: Callable[[], None] = _nothing
    publication: Publication | None = None
    try:
        if not all(source.startswith("/") for source, _, _ in request.volumes):
            from buildkit_py.api.volumes import mounted

            volumes = mounted(request, session, directories)
            request, release = volumes.request, volumes.release
        make_root(f"{work.path}/upper")
        os.mkdir(f"{work.path}/work", 0o700)
        root = RootFilesystem(
            layers=directories,
            upper=f"{work.path}/upper",
            work=f"{work.path}/work",
            host=host,
            hide=(store.root,) if host else (),
        )
        hostname = request.hostname or os.urandom(6).hex()
        spec = container_spec(runnable.config, request, root, hostname, networks)
        if spec.network == "host":
            from buildkit_py.sandbox.resolv import with_machines

            spec = spec.replace(hosts=with_machines(spec.hosts))
        if runtime is not None:
            os.mkdir(f"{work.path}/bundle", 0o700)
            spec = spec.replace(runtime=(runtime.kind, runtime.path, f"{work.path}/bundle"))
        publication = _publication(request, runnable, spec.network, emit)
        if limits is not None:
            spec = spec.replace(cgroups=limits.directories)
    except BaseException:
        if publication is not None:
            publication.close()
        release()
        work.discard()
        raise
    return Container(request, session, work, spec, starter, limits, publication, release)


def _publication(request: RunRequest, runnable: Runnable, network: str, emit: Emit) -> Publication | None:
    """The ports that are asked for, if any are."""
    if not request.ports and not request.publish_all:
        return None
    from buildkit_py.runner.publication import Publication

    return Publication(published(request, runnable, network, emit), ports_of_containers(request.store))


def published(request: RunRequest, runnable: Runnable, network: str, emit: Emit) -> tuple[Published, ...]:
    """The ports to be published of a container on `network`. Raises `UsageError`."""
    if not request.ports and not request.publish_all:
        return ()
    from buildkit_py.events import Notice
    from buildkit_py.runner.publication import wanted_ports

    return wanted_ports(
        request, runnable.config, network, lambda message, hint: emit(Notice("warning", message, hint=hint))
    )


def _nothing() -> None:
    """Release what is not held."""


def layer_directories(session: Session, layers: tuple[str, ...], emit: Emit) -> tuple[tuple[str, ...], bool]:
    """The layers as directories, lowest first, and whether this machine's own root lies below them."""
    present = [session.store.layers.trees(layer) for layer in layers]
    if all(present):  # mostly: then nothing more need be loaded
        return tuple([tree for trees in present for tree in trees]), False
    trees = _trees(session, layers, emit)
    return trees.directories, trees.host


def _trees(session: Session, layers: tuple[str, ...], emit: Emit) -> Trees:
    """The layers as directories; those that have to be fetched or unpacked are seen as steps."""
    from buildkit_py.events import StepFinished, StepProgress, StepQueued, StepStarted

    missing = [layer for layer in dict.fromkeys(layers) if _is_packed(session, layer)]
    began = session.clock()
    step = "unpack"
    if missing:
        emit(StepQueued(step, f"unpack {len(missing)} layer{'s' if len(missing) > 1 else ''}"))
        emit(StepStarted(step, began))
    state = "FAILED"
    try:
        trees = session.materializer().trees(
            layers, lambda layer, done, total: emit(StepProgress(step, layer[:12], done, total))
        )
        state = "DONE"
    finally:
        if missing:
            emit(StepFinished(step, state, session.clock() - began, session.clock()))
    return trees


def _is_packed(session: Session, layer: str) -> bool:
    """Whether there is something to fetch or unpack: not for an empty layer, nor for this machine's own root."""
    from buildkit_py.executor.materialize import HOST

    if session.store.layers.trees(layer):
        return False
    meta = session.store.layers.get(layer)
    return meta is None or not (meta.empty or meta.origin == HOST)
