"""The program of a supervisor: from the store's directory and a container's id to the container's end.

Each container has one for as long as it runs, so what it loads counts as many times: nothing big of Python's own.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import os

from buildkit_py.api.containers import writable_root
from buildkit_py.api.run import layer_directories
from buildkit_py.api.session import Session
from buildkit_py.errors import UsageError
from buildkit_py.runner.health import Check
from buildkit_py.runner.request import Bounds
from buildkit_py.runner.restart import Restart
from buildkit_py.runner.supervisor import Supervisor
from buildkit_py.sandbox.foreground import Foreground
from buildkit_py.sandbox.network.choice import Choice
from buildkit_py.sandbox.spec import SandboxSpec
from buildkit_py.store.containers import EXITED
from buildkit_py.store.remove import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.api.project_network import Place
    from buildkit_py.errors import PybuildError
    from buildkit_py.runner.publication import Publication
    from buildkit_py.sandbox.launch import Sandbox
    from buildkit_py.sandbox.limits import Limits
    from buildkit_py.store.containers import About, State
    from buildkit_py.store.locks import InUse

_ASKING = (2, 15)  # SIGINT, SIGTERM

LATER = (
    "blake3",
    "buildkit_py.api.project_network",
    "buildkit_py.runner.shared_network",
    "buildkit_py.sandbox.init",
    "buildkit_py.sandbox.network.plan",
    "buildkit_py.sandbox.ready_filter",
    "buildkit_py.sandbox.resolv",
    "buildkit_py.store.blobs",
    "buildkit_py.store.layers",
    "buildkit_py.store.networks",
    "buildkit_py.store.owners",
)
"""What a supervisor of a project's container loads besides until that runs, for the one that forks many of them."""


def run(root: str, id: str, ready: Callable[[PybuildError | None], None]) -> None:
    """Run the container to its end, for `background.begin`."""
    with Session(root) as session:
        containers = session.store.containers
        about = containers.about(id)
        if about is None:
            raise UsageError(f"there is no container {id[:12]}, or its description is damaged")
        lock = containers.take(id)
        if lock is None:
            raise containers.taken(id)
        try:
            supervisor, state = _run(session, about, ready)
        finally:
            if about.body["remove"]:
                session.store.work.remove(containers.path(id))
                if project := about.body.get("project"):
                    session.store.networks.leave(project, [about.name])
            lock.release()
        supervisor.tell(state)


def _run(session: Session, about: About, ready: Callable[[PybuildError | None], None]) -> tuple[Supervisor, State]:
    """Run the container to its end; its supervisor, which has one thing left to tell, and its last state."""
    containers, path = session.store.containers, session.store.containers.path(about.id)
    directories, host = layer_directories(session, about.layers, lambda event: None)
    # From here on its layers stay because it is there, and nothing else that is in use hangs on this process.
    session.hold.release()
    bounds = Bounds(*about.body.get("bounds", ()))
    limits: Limits | None = None

    def start(stdout: int, stderr: int) -> Sandbox:
        nonlocal limits
        # The kernel leaves things in it, and each mount wants an empty one.
        remove_tree(spec.root.work)
        os.mkdir(spec.root.work, 0o700)
        limits = bounds.enforce()
        started, network = place.take(spec) if place is not None else (spec, -1)
        started = started.replace(cgroups=groups())
        sandbox = starter.spawn(started, stdin=-1, stdout=stdout, stderr=stderr, network=network)
        if publication is not None:
            publication.begin(sandbox)
        return sandbox

    def beside(container: Sandbox, argv: tuple[str, ...], stdout: int) -> Sandbox:
        from buildkit_py.sandbox.join import Joiner

        command = spec.replace(argv=argv, terminal=False, cgroups=groups())
        joiner = Joiner(container.pidfd)
        try:
            return joiner.spawn(command, stdin=-1, stdout=stdout, stderr=stdout)
        finally:
            joiner.close()

    def groups() -> tuple[str, ...]:
        return limits.directories if limits is not None else ()

    def ended(code: int) -> str:
        nonlocal limits
        if publication is not None:
            publication.end()
        gone, limits = limits, None
        said = "the network of its project has ended" if place is not None and place.has_ended() else ""
        if gone is not None:
            said = "out of memory" if code != 0 and gone.out_of_memory() else said
            gone.remove()
        return said

    held: list[InUse] = []
    publication: Publication | None = None
    place: Place | None = None
    starter = Foreground()
    try:
        for name in about.body.get("volumes", ()):
            held.append(session.store.volumes.hold(name))
        publication = _publication(about, session.store.root)
        reached_at = publication.places if publication is not None else ()
        if about.body.get("project"):
            from buildkit_py.api.project_network import Place

            place = Place(about.body["project"], about.name, session.store)
        spec = _spec(about, path, directories, host, session.store.root, starter if place is None else None)
        supervisor = Supervisor(
            path,
            start,
            lambda state: containers.set_state(
                about.id, state.replace(cgroups=groups(), ports=reached_at if state.status != EXITED else ())
            ),
            Restart(*about.body["restart"]),
            ended=ended,
            stop_signal=about.body["stop"],
            patience=about.body["patience"],
            check=Check(*check) if (check := about.body.get("check")) else None,
            beside=beside,
            lifeline=place.fileno if place is not None else None,
            command=spec.argv[0],
        )
        for number in _ASKING:
            _signal.signal(number, lambda *_: supervisor.ask_to_stop())
        return supervisor, supervisor.run(ready)
    finally:
        starter.close()
        if publication is not None:
            publication.close()
        if place is not None:
            place.close()
        for volume in held:
            volume.release()


def _publication(about: About, store: str) -> Publication | None:
    """The published ports of a container, if it has any."""
    if not about.body.get("ports"):
        return None
    from buildkit_py.api.run import ports_of_containers
    from buildkit_py.runner.publication import Publication
    from buildkit_py.runner.published import Published

    return Publication(tuple([Published(*values) for values in about.body["ports"]]), ports_of_containers(store))


def _spec(
    about: About, path: str, directories: tuple[str, ...], host: bool, store: str, starter: Foreground | None
) -> SandboxSpec:
    """The sandbox as it was asked for, on the files that there are now, and the network that `starter` is to make."""
    root = writable_root(path, directories, host=host, store=store)
    spec = SandboxSpec.from_wire(about.body["spec"]).replace(root=root)
    if starter is None:
        return spec
    networks = Choice("", lambda message, hint: None)  # the spec says which
    if networks.network(spec.network) == "isolated":
        starter.connect(networks.plan())
    if spec.network == "host":
        from buildkit_py.sandbox.resolv import with_machines

        spec = spec.replace(hosts=with_machines(spec.hosts))
    return spec.replace(resolv_conf=networks.resolv_conf(spec.network))
