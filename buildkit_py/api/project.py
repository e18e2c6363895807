"""The containers of a project: found, asked to end in an order, removed.

Each knows what it is by its `About.body["compose"]`, so that a project is found without its files:

    {"name", "service", "fingerprint", "directory", "files",
     "after": [service…], "bound": [service…], "volumes": [own…]}
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager

from buildkit_py.api.containers import ask_to_stop, is_running, kill, listed, remove, supervisors
from buildkit_py.api.project_network import go_to
from buildkit_py.api.project_request import project_networks
from buildkit_py.errors import UsageError
from buildkit_py.frontend.compose.unnamed_volumes import is_unnamed_of
from buildkit_py.record import Record
from buildkit_py.runner import control
from buildkit_py.store.locks import Lock
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from buildkit_py.errors import PybuildError
    from buildkit_py.store.containers import About, State

KEY = "compose"
_LOOKS = 0.05


class Member(Record):
    """A container of a project. `after` are the services that it was started after, `bound` those of them with which
    it is restarted.
    """

    about: About
    state: State
    service: str
    fingerprint: str = ""
    after: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Of its container."""
        return self.about.id

    @property
    def running(self) -> bool:
        """Whether somebody looks after it."""
        return is_running(self.state)


def members(project: str, *, store: str = "") -> tuple[Member, ...]:
    """The containers of a project, in the order in which they were made."""
    found = []
    for about, state in reversed(listed(store=store)):
        mine = about.body.get(KEY)
        if mine and mine["name"] == project:
            lists = [tuple(mine[name]) for name in ("after", "bound")]
            found.append(Member(about, state, mine["service"], mine["fingerprint"], *lists))
    return tuple(found)


def own_volumes(project: str, *, store: str = "") -> tuple[str, ...]:
    """The volumes that belong to a project, as its containers know them: for who has not read its files."""
    found = members(project, store=store)
    names = [name for one in found for name in one.about.body[KEY]["volumes"]]
    return tuple(dict.fromkeys((*names, *unnamed_volumes(project, (), store=store))))


def unnamed_volumes(project: str, services: Iterable[str], *, store: str = "") -> tuple[str, ...]:
    """The unnamed volumes of some services of a project, and of those that it has containers of."""
    owners = {*services, *[one.service for one in members(project, store=store)]}
    every = [volume.name for volume in Store.open(store).volumes.all()]
    return tuple([name for name in every if any(is_unnamed_of(name, project, service) for service in owners)])


def chosen(project: str, services: Sequence[str], *, store: str = "") -> tuple[Member, ...]:
    """The containers of some services, all of them where none is named. Raises `UsageError`."""
    found = members(project, store=store)
    for name in services:
        if not any(one.service == name for one in found):
            raise UsageError(
                f"the project `{project}` has no container of a service `{name}`",
                hint="`pybuild up` starts it" if found else f"`pybuild up -p {project}` starts it",
            )
    return tuple([one for one in found if not services or one.service in services])


class Ending:
    """Ends containers of a project, what others were started after behind these; those that are unrelated together.

    Each has so many seconds for it, below 0: as many as it says itself. `step` does what can be done now and is called
    again until `over`.
    """

    def __init__(
        self, wanted: Iterable[Member], *, store: str = "", seconds: float = -1.0, ended: Callable[[Member], None]
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._ended = ended
        self._left = {one.id: one for one in wanted if one.running}
        self._asked: set[str] = set()

    @property
    def over(self) -> bool:
        """Whether all have ended."""
        return not self._left

    def step(self) -> None:
        """Ask those to end of which none is left that was started after them."""
        alive = {about.id for about, state in listed(store=self._store) if is_running(state)}
        for id in [id for id in self._left if id not in alive]:
            self._ended(self._left.pop(id))
        needed = {name for one in self._left.values() for name in one.after}
        free = [id for id, one in self._left.items() if one.service not in needed]
        # Each was made at a time of its own, when the files may have had another order: where each waits for another
        # one, all end together.
        for id in free or self._left:
            if id not in self._asked:
                self._asked.add(id)
                ask_to_stop(id, seconds=self._seconds, store=self._store)

    def kill(self) -> None:
        """Kill all that are left."""
        for id in self._left:
            self._asked.add(id)
            try:
                kill(id, store=self._store)
            except UsageError:
                continue  # it has ended


def end(wanted: Iterable[Member], *, store: str = "", seconds: float = -1.0, ended: Callable[[Member], None]) -> None:
    """End containers of a project, and wait until they have; `seconds` as for `Ending`."""
    ending = Ending(wanted, store=store, seconds=seconds, ended=ended)
    while True:
        ending.step()
        if ending.over:
            return
        time.sleep(_LOOKS)


def restart(
    wanted: Sequence[Member], *, store: str = "", seconds: float = -1.0, told: Callable[[Member], None]
) -> None:
    """End containers of a project and start them again, those first that others were started after.

    `seconds` as for `Ending`. Raises what starting raises.
    """
    end(wanted, store=store, seconds=seconds, ended=lambda one: None)
    left = {one.id: one for one in wanted}
    problems: list[PybuildError] = []

    def begun(id: str, problem: PybuildError | None) -> None:
        if problem is not None:
            problems.append(problem)
        else:
            told(left[id])

    with ExitStack() as held:
        for network in sorted({one.about.body["project"] for one in wanted if one.about.body.get("project")}):
            held.enter_context(go_to(network, store=store))
        forks = held.enter_context(supervisors(store=store))
        while left and not problems:
            names = {one.service for one in left.values()}
            # Where a cycle could be, which no file has, any is as good as another.
            ready = [id for id, one in left.items() if names.isdisjoint(one.after)] or [*left][:1]
            forks.begin(ready, begun)
            for id in ready:
                del left[id]
    if problems:
        raise problems[0]


def with_bound(wanted: Sequence[Member], every: Sequence[Member]) -> tuple[Member, ...]:
    """Some containers of a project, and all that are restarted with them."""
    names = {one.service for one in wanted}
    while more := {one.service for one in every if not names.isdisjoint(one.bound)} - names:
        names |= more
    return tuple([one for one in every if one.service in names])


@contextmanager
def in_networks(seats: Mapping[str, Mapping[str, Iterable[str]]], *, store: str = "") -> Iterator[None]:
    """Have networks of a project, in which containers have their places: by network, their names with those that the
    others find each under.

    This comes before all else that the process of an ordinary user does with the store. Raises as `go_to`.
    """
    networks = Store.open(store).networks

    def is_to_be_made(name: str) -> bool:
        found = control.connect(networks.path(name))
        if found is not None:
            found.close()
        return found is None

    with ExitStack() as held:
        # An ordinary user's process goes to where those are that there are; the others are made where it is then.
        for name in sorted(seats, key=is_to_be_made):
            held.enter_context(go_to(name, store=store))
        for name, wanted in seats.items():
            networks.join(name, wanted)
        yield


def alone(project: str, *, store: str = "") -> Lock:
    """Held by the one process that makes, starts or removes containers of a project."""
    return Lock(f"{Store.open(store).root}/locks/project-{project}")


def forget_networks(project: str, *, store: str = "") -> None:
    """Take away the places that are kept in the networks of a project which has no containers any more.

    Not those of other containers that went there.
    """
    opened = Store.open(store)
    networks, there = opened.networks, {about.name for about in opened.containers.all()}
    try:
        names = os.listdir(networks.dir)
    except FileNotFoundError:
        return
    for name in names:
        if name == project or name.startswith(project_networks(project)):
            networks.leave(name, [one for one in networks.members(name) if one not in there])


def take_down(
    wanted: Sequence[Member], *, store: str = "", seconds: float = -1.0, ended: Callable[[Member], None]
) -> None:
    """End and remove containers of a project; `seconds` as for `Ending`. One that is gone already is no error."""
    end(wanted, store=store, seconds=seconds, ended=ended)
    containers = Store.open(store).containers
    for one in reversed(wanted):
        try:
            remove(one.id, force=True, store=store)
        except UsageError:
            if containers.is_there(one.id):
                raise
