"""Containers in the background, as people handle them: made, started, stopped, looked at and removed."""

from __future__ import annotations

import os

from buildkit_py.api.background import begin
from buildkit_py.api.project_network import go_to, release
from buildkit_py.errors import UsageError
from buildkit_py.record import Record
from buildkit_py.runner import control
from buildkit_py.store.containers import EXITED, About, Containers, State
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.api.background_forks import Forks
    from buildkit_py.api.make_container import Detached
    from buildkit_py.events import Emit
    from buildkit_py.runner.container_log import Line
    from buildkit_py.runner.request import RunRequest
    from buildkit_py.sandbox.spec import RootFilesystem

_SIGKILL = 9
_SUPERVISE, _SUPERVISOR = "buildkit_py.api.supervise", "the container's supervisor"


class Execute(Record):
    """A command for a container that runs; "" in `workdir` and `user` is the container's own."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    workdir: str = ""
    user: str = ""
    interactive: bool = False
    terminal: bool = False


def start_detached(request: RunRequest, wanted: Detached, emit: Emit) -> str:
    """Make a container and start it; its id, once it runs.

    Raises whatever building and pulling do, `UsageError` for a name that is taken, and `SandboxError` where it cannot
    be started; it is there all the same then, unless it was to be removed.
    """
    from buildkit_py.api.make_container import build_and_make

    id = build_and_make(request, wanted, emit)
    start(id, store=request.store)
    return id


def start(text: str, *, store: str = "") -> str:
    """Start a container that does not run; its id, once it runs. Raises `UsageError`, `SandboxError`."""
    opened = Store.open(store)
    root, containers = opened.root, opened.containers
    about = containers.find(text)
    if containers.is_supervised(about.id):
        raise containers.taken(about.id)
    if project := about.body.get("project"):
        with go_to(project, store=root):
            begin(_SUPERVISE, root, about.id, _SUPERVISOR)
    else:
        begin(_SUPERVISE, root, about.id, _SUPERVISOR)
    return about.id


def supervisors(*, store: str = "") -> Forks:
    """What starts many containers at once, by their whole ids, as `start` does each; the caller closes it.

    For those whose networks this process is in. Raises `SandboxError`.
    """
    from buildkit_py.api.background_forks import Forks

    return Forks(_SUPERVISE, Store.open(store).root, _SUPERVISOR)


def listed(*, store: str = "") -> list[tuple[About, State]]:
    """All containers and how they fare, newest first."""
    containers = _containers(store)
    found = [(about, containers.state(about.id)) for about in containers.all()]
    return [one for one in found if containers.is_there(one[0].id)]


def find(text: str, *, store: str = "") -> tuple[About, State]:
    """One container. Raises `UsageError`."""
    containers = _containers(store)
    about = containers.find(text)
    return about, containers.state(about.id)


def stop(text: str, *, signal: int = 0, seconds: float = -1.0, store: str = "") -> str:
    """End a container: its stop signal, and SIGKILL when it had its time; its name, once it has ended.

    `signal` 0 and `seconds` below 0 are the container's own. One that does not run is left alone. Raises `UsageError`.
    """
    containers = _containers(store)
    about = containers.find(text)
    _stop(containers, about, signal, seconds)
    return about.name


def ask_to_stop(id: str, *, seconds: float = -1.0, store: str = "") -> None:
    """Begin to end a container as `stop` does; whoever asks looks by itself when it has ended."""
    supervisor = control.connect(_containers(store).path(id))
    if supervisor is not None:
        with supervisor:
            _ask(supervisor, "stop", 0, seconds)


def _stop(containers: Containers, about: About, signal: int, seconds: float) -> None:
    if (supervisor := control.connect(containers.path(about.id))) is not None:
        with supervisor:
            _ask(supervisor, "stop", signal, seconds)
            _ended(supervisor)


def kill(text: str, signal: int = _SIGKILL, *, store: str = "") -> str:
    """Send a signal to a container; its name. Raises `UsageError` where it does not run."""
    containers = _containers(store)
    about = containers.find(text)
    supervisor = control.connect(containers.path(about.id))
    if supervisor is None:
        raise UsageError(f"the container `{about.name}` is not running")
    with supervisor:
        _ask(supervisor, "kill", signal)
    return about.name


def execute(text: str, wanted: Execute, *, store: str = "") -> int:
    """Run a command in a container beside its own, on this process's standard streams; its exit code.

    Raises `UsageError` where the container does not run, and `SandboxError`.
    """
    from buildkit_py.runner.foreground import Forwarding, run_in_foreground
    from buildkit_py.sandbox.join import Joiner
    from buildkit_py.sandbox.spec import SandboxSpec

    containers = _containers(store)
    about = containers.find(text)
    pidfd = first_process(containers, about)
    if pidfd < 0:
        raise UsageError(f"the container `{about.name}` is not running", hint=f"`pybuild start {about.name}` starts it")
    spec = SandboxSpec.from_wire(about.body["spec"])
    spec = spec.replace(cgroups=containers.state(about.id).cgroups)
    env = ({"TERM": "xterm"} if wanted.terminal else {}) | dict(spec.env) | dict(wanted.env)
    spec = spec.replace(
        argv=wanted.command,
        env=tuple(env.items()),
        cwd=wanted.workdir or spec.cwd,
        user=wanted.user or spec.user,
        terminal=wanted.terminal,
    )
    joiner = Joiner(pidfd)
    try:
        with Forwarding() as forwarding:
            return run_in_foreground(joiner.spawn, spec, forwarding, interactive=wanted.interactive)
    finally:
        joiner.close()
        os.close(pidfd)


def wait(text: str, *, store: str = "") -> int:
    """Wait until a container has ended for good; its exit code. Raises `UsageError`."""
    containers = _containers(store)
    about = containers.find(text)
    if (supervisor := control.connect(containers.path(about.id))) is not None:
        with supervisor:
            _ask(supervisor, "wait")
            if (code := _ended(supervisor)) is not None:
                return code
    state = containers.state(about.id)
    if not containers.is_there(about.id):
        raise UsageError(f"the container `{about.name}` was removed, and its exit code with it")
    return state.code


def remove(text: str, *, force: bool = False, leave: bool = True, store: str = "") -> str:
    """Remove a container with all it wrote, with `force` also one that runs; its name. Raises `UsageError`.

    Where it does not `leave` the network of its project, its place there is for the next one of its name.
    """
    from buildkit_py.api.cache import owned

    containers = _containers(store)
    about = containers.find(text)
    if force:
        _stop(containers, about, _SIGKILL, 0)
    groups = containers.state(about.id).cgroups
    owned(store).containers.delete(about.id)  # unless it removed itself
    if groups:  # its supervisor was killed, or would have removed them
        from buildkit_py.sandbox.limits import remove_left

        remove_left(groups)
    if leave and (project := about.body.get("project")):
        release(project, [about.name], store=store)
    return about.name


def log(text: str, *, tail: int = -1, follow: bool = False, store: str = "") -> Iterator[Line]:
    """What a container wrote, oldest first, or its last `tail` lines; with `follow` also what it is still going to.

    Raises `UsageError`.
    """
    from buildkit_py.runner.container_log import read_log

    containers = _containers(store)
    id = containers.find(text).id
    alive = (lambda: containers.is_supervised(id)) if follow else None
    return read_log(containers.path(id), tail=tail, follow=alive)


def first_process(containers: Containers, about: About) -> int:
    """A pidfd of the first process of a container, which the caller closes; -1 where it does not run."""
    supervisor = control.connect(containers.path(about.id))
    if supervisor is not None:
        with supervisor:
            try:
                control.send(supervisor, "join")
                return control.receive_descriptor(supervisor)
            except OSError:
                pass  # it has just ended
    return -1


def writable_root(path: str, layers: tuple[str, ...], *, host: bool, store: str) -> RootFilesystem:
    """The root of the container in the directory `path` of a store; the rest is as `layer_directories` gives it."""
    from buildkit_py.sandbox.spec import RootFilesystem

    return RootFilesystem(
        layers=layers,
        upper=f"{path}/upper",
        work=f"{path}/work",
        host=host,
        volatile=False,  # what it writes outlives it, and a kernel takes no volatile layer for a second mount
        hide=(store,) if host else (),
    )


def directory(id: str, *, store: str = "") -> str:
    """Where a container is, by its whole id."""
    return _containers(store).path(id)


def is_alive(id: str, *, store: str = "") -> bool:
    """Whether somebody looks after a container, by its whole id."""
    return _containers(store).is_supervised(id)


def is_running(state: State) -> bool:
    """Whether somebody looks after it."""
    return state.status not in (EXITED, "created")


def _containers(store: str) -> Containers:
    return Store.open(store).containers


def _ask(supervisor: control.Socket, *message: object) -> None:
    try:
        control.send(supervisor, *message)
    except OSError:
        return  # it has just ended
    control.receive(supervisor)


def _ended(supervisor: control.Socket) -> int | None:
    """Wait for the supervisor's last word; None where it went without one."""
    while message := control.receive(supervisor):
        match message:
            case ("ended", int(code)):
                return code
    return None
