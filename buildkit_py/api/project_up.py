"""Bringing a project up: its containers made, replaced where they have changed, and started in dependency order."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager

from buildkit_py.api.containers import ask_to_stop, is_alive, remove, start, supervisors
from buildkit_py.api.containers import log as container_log
from buildkit_py.api.make_container import make
from buildkit_py.api.project import KEY, alone, members
from buildkit_py.api.project_network import PREFIX, project_of
from buildkit_py.api.project_request import (
    container_name,
    fingerprint,
    make_sources,
    published_ports,
    requests,
    with_image_volumes,
)
from buildkit_py.api.run import check_ports
from buildkit_py.api.session import Session
from buildkit_py.errors import ComposeError, NotHealthy, PybuildError, UsageError
from buildkit_py.frontend.compose.project import COMPLETED, HEALTHY, STARTED
from buildkit_py.record import Record
from buildkit_py.runner.health import HEALTHY as IS_HEALTHY
from buildkit_py.runner.health import UNHEALTHY, Health
from buildkit_py.store.containers import EXITED, RESTARTING, RUNNING
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from buildkit_py.api.background_forks import Forks
    from buildkit_py.api.make_container import Detached
    from buildkit_py.api.project import Member
    from buildkit_py.events import Emit
    from buildkit_py.frontend.compose.project import Dependency, Project, Service
    from buildkit_py.runner.memo import Runnable
    from buildkit_py.runner.request import RunRequest
    from buildkit_py.store.containers import About, State

    Shown = Callable[[Callable[[Emit], str]], str]

_LOOKS = 0.02
_LAST_LINES = 20
_WANTED = {STARTED: "to start", HEALTHY: "to be healthy", COMPLETED: "to end well"}


class _Wanted(Record):
    """What a service's container is to be, and know `about` itself."""

    request: RunRequest
    wanted: Detached
    about: dict[str, object]


class Up:
    """Brings services of a project up.

    `runnables` are what their containers run, by service; `shown` calls what it is given with an `emit`; `tell` hears
    of each service what was done; `tick` is called again and again while something is waited for, and may raise.
    `seconds` is the most that is waited for what others depend on, None for any time. `recreate`: all are replaced.
    What is replaced has `patience` seconds to end in, below 0: as many as it says itself.
    """

    def __init__(
        self,
        project: Project,
        runnables: dict[str, Runnable],
        *,
        shown: Shown,
        tell: Callable[[str, str], None],
        tick: Callable[[], None] = lambda: None,
        seconds: float | None = None,
        recreate: bool = False,
        patience: float = -1.0,
        store: str = "",
    ) -> None:
        self._project = project
        self._patience = patience
        self._runnables = runnables
        self._shown = shown
        self._tell = tell
        self._tick = tick
        self._seconds = seconds
        self._recreate = recreate
        self._store = store
        self._services = {one.name: one for one in project.services}
        # By service: the id of the container that is there, and whether it was replaced or started by this.
        self.placed: dict[str, str] = {}
        self.changed: list[str] = []
        self._containers = Store.open(store).containers
        self._forks: Forks | None = None
        self._began = 0.0
        # (service, dependency) of those that go on without what they would have liked.
        self._without: set[tuple[str, str]] = set()

    def bring(self, names: Sequence[str], *, until_ready: bool = False) -> None:
        """Bring some services up, in the order of their dependencies among them.

        With `until_ready` wait until all are healthy, or run where nobody checks that. Raises `NotHealthy` with the
        last lines of its log where a service does not come to what another one waits for, and what creating and
        starting raise, with the place of the service.
        """
        self._check_volumes()
        old = {one.service: one for one in members(self._project.name, store=self._store)}
        pending = [self._services[name] for name in self._services if name in names]
        self._began = time.monotonic()
        self.placed.update({name: member.id for name, member in old.items() if name not in names})
        self._free_ports(pending, old)
        try:
            while pending:
                late = self._late()  # before they are asked: those that can do without then go on
                ready = [one for one in pending if self._may_start(one, pending)]
                if ready:
                    with alone(self._project.name, store=self._store):
                        self._start(self._place_all(ready))
                for one in ready:
                    pending.remove(one)
                if not ready:
                    if late:
                        raise self._blocked(pending)
                    self._wait()
        finally:
            if self._forks is not None:
                self._forks.close()
                self._forks = None
        if until_ready:
            self._until_ready(names)

    def _check_volumes(self) -> None:
        from buildkit_py.api.volumes import listed

        there = {one.name for one in listed(store=self._store)} if self._project.external_volumes else set()
        for name in self._project.external_volumes:
            if name not in there:
                raise UsageError(
                    f"the volume `{name}` is external, and it is not there",
                    hint="`pybuild volume ls` lists those that are",
                )

    # -- waiting

    def _find(self, id: str) -> tuple[About, State]:
        return self._containers.find(id), self._containers.state(id)

    def _may_start(self, service: Service, pending: Sequence[Service]) -> bool:
        waiting = {one.name for one in pending}
        return all(
            dependency.service not in waiting and self._may_go_on(service, dependency)
            for dependency in service.depends_on
            if dependency.service in self._services
        )

    def _may_go_on(self, service: Service, dependency: Dependency) -> bool:
        """Whether a service has not to wait for a dependency, or not any more."""
        both = (service.name, dependency.service)
        try:
            if both in self._without or self._has_come(service, dependency):
                return True
            if dependency.required or not self._late():
                return False
            why = self._too_late(service, dependency).message
        except NotHealthy as problem:
            if dependency.required:
                raise
            why = problem.message
        self._without.add(both)
        self._tell(service.name, f"goes on without what it would have liked: {why}")
        return True

    def _has_come(self, service: Service, dependency: Dependency) -> bool:
        """Whether a dependency is as far as it is to be. Raises `NotHealthy` where it never will."""
        id = self.placed.get(dependency.service)
        if id is None:
            return not dependency.required  # it is not wanted, or could not be had
        about, state = self._find(id)
        if dependency.condition == STARTED:
            return True
        if dependency.condition == COMPLETED:
            if state.status != EXITED or not state.started:
                return False
            if state.code == 0:
                return True
            raise self._failed(service, dependency, f"it ended with the code {state.code}")
        if not about.body.get("check"):
            raise ComposeError(
                f"`{service.name}` waits for `{dependency.service}` to be healthy, and nobody checks that",
                at=dependency.at,
                hint=f"give `{dependency.service}` a `healthcheck`, or its image a HEALTHCHECK",
            )
        if state.status == EXITED:
            raise self._failed(service, dependency, f"it ended with the code {state.code}")
        health = Health(*state.health) if state.health else Health()
        if health.status == UNHEALTHY:
            raise self._failed(service, dependency, "it is unhealthy")
        return state.status == RUNNING and health.status == IS_HEALTHY

    def _blocked(self, pending: Sequence[Service]) -> PybuildError:
        """The error for the first that waits too long."""
        for service in pending:
            for dependency in service.depends_on:
                if dependency.service in self.placed and not self._may_go_on(service, dependency):
                    return self._too_late(service, dependency)
        return NotHealthy(f"`{pending[0].name}` could not be started in time")

    def _too_late(self, service: Service, dependency: Dependency) -> NotHealthy:
        return self._failed(service, dependency, f"that did not come in {self._seconds:g} seconds")

    def _failed(self, service: Service, dependency: Dependency, why: str) -> NotHealthy:
        name = container_name(self._project.name, self._services[dependency.service])
        return NotHealthy(
            f"`{service.name}` waits for `{dependency.service}` {_WANTED[dependency.condition]}, and {why}",
            at=dependency.at,
            notes=self._why(self.placed[dependency.service], name),
            hint=f"`pybuild logs {name}` shows all that it wrote",
        )

    def _why(self, id: str, name: str) -> tuple[str, ...]:
        """What is known of a container that is not as it should be: its last check, the last lines of its log."""
        notes: list[str] = []
        _, state = self._find(id)
        health = Health(*state.health) if state.health else Health()
        if health != Health():
            notes.append(
                "its last check wrote:" if health.output.strip() else f"its last check ended with {health.code}"
            )
            notes += health.output.splitlines()[-_LAST_LINES:]
        if state.problem:
            notes.append(state.problem)
        lines = deque(container_log(id, tail=_LAST_LINES, store=self._store))
        if lines:
            notes.append(f"the last lines of {name}:")
            notes += [line.data.decode("utf-8", "replace").rstrip("\r\n") for line in lines]
        return tuple(notes)

    def _until_ready(self, names: Sequence[str]) -> None:
        left = [name for name in names if name in self.placed]
        while left := [name for name in left if not self._is_ready(name)]:
            if self._late():
                raise self._not_ready(left[0], f"is not healthy after {self._seconds:g} seconds")
            self._wait()

    def _is_ready(self, name: str) -> bool:
        """Whether a service is healthy, or runs where nobody checks that, or has ended well."""
        about, state = self._find(self.placed[name])
        health = Health(*state.health) if state.health else Health()
        if state.status == EXITED and state.code != 0:
            raise self._not_ready(name, f"ended with the code {state.code}")
        if not about.body.get("check") or state.status == EXITED:
            return state.status != RESTARTING
        if health.status == UNHEALTHY:
            raise self._not_ready(name, "is unhealthy")
        return health.status == IS_HEALTHY

    def _not_ready(self, service: str, why: str) -> NotHealthy:
        name = container_name(self._project.name, self._services[service])
        return NotHealthy(
            f"`{service}` {why}",
            at=self._services[service].at,
            notes=self._why(self.placed[service], name),
            hint=f"`pybuild logs {name}` shows all that it wrote",
        )

    def _late(self) -> bool:
        """Whether nothing is waited for any more."""
        return self._seconds is not None and time.monotonic() - self._began > self._seconds

    def _wait(self) -> None:
        self._tick()
        time.sleep(_LOOKS)

    # -- starting

    def _free_ports(self, services: Sequence[Service], old: Mapping[str, Member]) -> None:
        """End those containers that are to be replaced and have ports now that other services are to get.

        It may be an earlier one that gets them, or one of two that exchange theirs.
        """
        for service in services:
            if service.name not in old or not (held := old[service.name].state.ports):
                continue
            wanted = [port for other in services if other is not service for port in published_ports(other)]
            if any(port.may_be(number, protocol) for _, number, _, protocol in held for port in wanted):
                with alone(self._project.name, store=self._store):
                    if self._is_another(old[service.name], self._wanted(service)):
                        self._end(old[service.name])

    def _place_all(self, services: Sequence[Service]) -> list[tuple[Service, str]]:
        """Have the containers of services as they are to be; those that are to be started, as `_place` says of each."""
        # Another one may have made, replaced or removed some meanwhile.
        old = {one.service: one for one in members(self._project.name, store=self._store)}
        if len(services) > 1 and self._forks is None:
            self._forks = supervisors(store=self._store)  # it gets ready meanwhile
        with Session(self._store) as session:
            return [place for one in services if (place := self._place(one, old.get(one.name), session)) is not None]

    def _place(self, service: Service, old: Member | None, session: Session) -> tuple[Service, str] | None:
        """Have the container of a service as it is to be; None where it runs, else what is said once it is started."""
        to_be = self._wanted(service)
        restarted = any(one.restart and one.service in self.changed for one in service.depends_on)
        if old is not None and not self._is_another(old, to_be):
            self.placed[service.name] = old.id
            if old.running and not restarted:
                self._tell(service.name, "runs as it is to be")
                return None
            said = "restarted" if old.running else "started"
            self._end(old)
        else:
            request, wanted = to_be.request, to_be.wanted
            if old is not None:
                self._end(old)
                remove(old.id, force=True, leave=self._moves(old, wanted.name, request.network), store=self._store)
            more = {KEY: to_be.about, "labels": service.labels}
            project = project_of(request.network)
            wish = request.replace(network="isolated") if project else request

            def made(emit: Emit) -> str:
                with _at(service):  # whoever shows it shows errors, too
                    check_ports(wish)
                    runnable = self._runnables[service.name]
                    return make(session, wish, wanted, runnable, emit, project=project, more=more).id

            self.placed[service.name] = self._shown(made)
            said = "started" if old is None else "replaced"
        self.changed.append(service.name)
        return service, said

    def _wanted(self, service: Service) -> _Wanted:
        make_sources(service)
        request, wanted = requests(self._project, service, self._store)
        runnable = self._runnables[service.name]
        request, unnamed = with_image_volumes(self._project, service, request, runnable.config)
        about = self._about(service, unnamed)
        known = (about["after"], about["bound"], about["volumes"])
        print_of = fingerprint(request, wanted, runnable, *known, service.labels)
        return _Wanted(request, wanted, {**about, "fingerprint": print_of})

    def _is_another(self, old: Member, to_be: _Wanted) -> bool:
        """Whether a container is to be replaced."""
        return self._recreate or old.fingerprint != to_be.about["fingerprint"]

    def _end(self, old: Member) -> None:
        """End a container that is to be replaced or started anew. Whoever wants no more of it is heard meanwhile."""
        ask_to_stop(old.id, seconds=self._patience, store=self._store)
        while is_alive(old.id, store=self._store):
            self._wait()

    def _start(self, wanted: Sequence[tuple[Service, str]]) -> None:
        """Start the containers of services, several at a time: what takes long is that their supervisors come up."""
        problems: list[PybuildError] = []
        places = {self.placed[service.name]: (service, said) for service, said in wanted}

        def begun(id: str, problem: PybuildError | None) -> None:
            service, said = places[id]
            try:
                with _at(service):
                    if problem is not None:
                        raise problem
                self._tell(service.name, said)
            except PybuildError as placed:
                problems.append(placed)

        if self._forks is not None:
            self._forks.begin(places, begun)
        else:
            for id, (service, said) in places.items():
                with _at(service):
                    start(id, store=self._store)
                self._tell(service.name, said)
        self._tick()
        if problems:
            raise problems[0]

    @staticmethod
    def _moves(old: Member, name: str, network: str) -> bool:
        """Whether the next container of a service is elsewhere than the last one: else it has that one's address."""
        return name != old.about.name or network != f"{PREFIX}{old.about.body['project']}"

    def _about(self, service: Service, unnamed: tuple[str, ...]) -> dict[str, object]:
        project = self._project
        mounted = {mount.source for mount in service.mounts if mount.kind == "volume"}
        own = mounted.intersection(project.volumes).difference(project.external_volumes)
        return {
            "name": project.name,
            "service": service.name,
            "directory": project.directory,
            "files": project.files,
            # Sorted: their order says nothing, and another one would be another container.
            "after": tuple(sorted(one.service for one in service.depends_on)),
            "bound": tuple(sorted(one.service for one in service.depends_on if one.restart)),
            "volumes": (*sorted(own), *unnamed),
        }


@contextmanager
def _at(service: Service) -> Iterator[None]:
    """What goes wrong in it has the place of a service, unless it has one in a file."""
    try:
        yield
    except PybuildError as problem:
        if not hasattr(problem.at, "line"):
            problem.place(service.at)
        raise
