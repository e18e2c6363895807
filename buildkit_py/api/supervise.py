"""The program of a supervisor: from the store's directory and a container's id to the container's end.

Each container has one for as long as it runs, so what it loads counts as many times: nothing big of Python's own.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of `signal`, which imports enum
import marshal
import os

from buildkit_py.api.containers import READY, writable_root
from buildkit_py.api.run import layer_directories
from buildkit_py.api.session import Session
from buildkit_py.errors import PybuildError, UsageError
from buildkit_py.runner.health import Check
from buildkit_py.runner.request import Bounds
from buildkit_py.runner.restart import Restart
from buildkit_py.runner.supervisor import Supervisor
from buildkit_py.sandbox.foreground import Foreground
from buildkit_py.sandbox.network.choice import Choice
from buildkit_py.sandbox.spec import SandboxSpec
from buildkit_py.sandbox.userns import take_over
from buildkit_py.store.containers import EXITED
from buildkit_py.store.faults import store_error
from buildkit_py.store.remove import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.runner.publication import Publication
    from buildkit_py.sandbox.launch import Sandbox
    from buildkit_py.sandbox.limits import Limits
    from buildkit_py.store.containers import About, State
    from buildkit_py.store.locks import InUse

_ASKING = (2, 15)  # SIGINT, SIGTERM


def main(root: str, id: str, identity: str) -> None:
    """Run the container to its end. `identity` is that of who starts it (`userns.handed_on`).

    What cannot be done is said on `READY`, where whoever starts it listens.
    """
    told = False

    def ready(problem: PybuildError | None) -> None:
        nonlocal told
        if told:
            return
        told = True
        said = ("ok",) if problem is None else ("error", problem.message, problem.hint, str(problem.at or ""))
        os.write(READY, marshal.dumps(said))
        os.close(READY)

    # Neither a directory nor a file of who starts it is kept in use for as long as the container runs.
    os.chdir("/")
    os.closerange(READY + 1, os.sysconf("SC_OPEN_MAX"))
    take_over(identity)
    try:
        _supervise(root, id, ready)
    except PybuildError as problem:
        ready(problem)
    except OSError as problem:
        ready(store_error(problem, root, "look after a container"))


def _supervise(root: str, id: str, ready: Callable[[PybuildError | None], None]) -> None:
    with Session(root) as session:
        containers = session.store.containers
        about = containers.about(id)
        if about is None:
            raise UsageError(f"there is no container {id[:12]}, or its description is damaged")
        lock = containers.take(id)
        if lock is None:
            raise UsageError(f"the container `{about.name}` is running")
        try:
            supervisor, state = _run(session, about, ready)
        finally:
            if about.body["remove"]:
                session.store.work.remove(containers.path(id))
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
        sandbox = starter.spawn(spec.replace(cgroups=groups()), stdin=-1, stdout=stdout, stderr=stderr)
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
        if gone is None:
            return ""
        said = "out of memory" if code != 0 and gone.out_of_memory() else ""
        gone.remove()
        return said

    held: list[InUse] = []
    publication: Publication | None = None
    starter = Foreground()
    try:
        for name in about.body.get("volumes", ()):
            held.append(session.store.volumes.hold(name))
        publication = _publication(about, session.store.root)
        reached_at = publication.places if publication is not None else ()
        spec = _spec(about, path, directories, host, session.store.root, starter)
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
        )
        for number in _ASKING:
            _signal.signal(number, lambda *_: supervisor.ask_to_stop())
        return supervisor, supervisor.run(ready)
    finally:
        starter.close()
        if publication is not None:
            publication.close()
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
    about: About, path: str, directories: tuple[str, ...], host: bool, store: str, starter: Foreground
) -> SandboxSpec:
    """The sandbox as it was asked for, on the files and the network that there are now."""
    root = writable_root(path, directories, host=host, store=store)
    spec = SandboxSpec.from_wire(about.body["spec"]).replace(root=root)
    networks = Choice("", lambda message, hint: None)  # the spec says which
    if networks.network(spec.network) == "isolated":
        starter.connect(networks.plan())
    return spec.replace(resolv_conf=networks.resolv_conf(spec.network))
