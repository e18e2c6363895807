"""The network of a project: going to it, sitting down in it, and the process that has it."""

from __future__ import annotations

import os
import select
import time

from buildkit_py.errors import SandboxError
from buildkit_py.runner import control
from buildkit_py.sandbox import userns
from buildkit_py.sandbox.resolv import reached_at
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from buildkit_py.errors import PybuildError
    from buildkit_py.sandbox.spec import SandboxSpec

PREFIX = "project:"
"""What stands before a project's name where a network is asked for."""

# How long one that just ends, or just begins, is waited for.
_PATIENCE, _PAUSE = 30.0, 0.01


def project_of(network: str) -> str:
    """The project whose network is asked for, "" where it is another one."""
    return network.removeprefix(PREFIX) if network.startswith(PREFIX) else ""


def release(name: str, containers: Iterable[str], *, store: str = "") -> None:
    """Take the places of containers away, started or not. Raises `StoreError`."""
    Store.open(store).networks.leave(name, containers)


def go_to(name: str, *, store: str = "") -> control.Socket:
    """Have the network of a project, which stays for as long as the connection is open, and be where it is.

    An ordinary user's process is in the network's user namespace from then on: this comes before all else that it does
    with the store. Raises `SandboxError` where no network can be made, or the process has done something else already.
    """
    return _go_to(name, Store.open(store))


def _go_to(name: str, store: Store) -> control.Socket:
    directory = store.networks.path(name)
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        found = control.connect(directory) or _begin(name, store, end)
        if found is None:
            continue
        from buildkit_py.runner.shared_network import greeting

        pidfd, identity = greeting(found)
        if pidfd < 0:  # it was just ending
            found.close()
            time.sleep(_PAUSE)
            continue
        try:
            userns.join(pidfd, identity)
        except ProcessLookupError:
            found.close()
            time.sleep(_PAUSE)
            continue
        except SandboxError as problem:
            found.close()
            raise SandboxError(
                f"the network of `{name}` is in another user namespace",
                hint="run the command again: it goes there first",
            ) from problem
        finally:
            os.close(pidfd)
        return found
    raise _unreachable(name)


def _begin(name: str, store: Store, end: float) -> control.Socket | None:
    """A connection to the network that another one has begun meanwhile; else begin it, with None.

    One at a time: whoever has entered a user namespace of its own cannot go to that of the network any more.
    """

    def waiting(_: int) -> None:
        if time.monotonic() >= end:
            raise _unreachable(name)

    with store.networks.beginning(name, waiting):
        found = control.connect(store.networks.path(name))
        if found is None:
            userns.enter()
            from buildkit_py.api.background import begin

            begin("buildkit_py.api.project_network", store.root, name, "the network of the project")
        return found


def _unreachable(name: str) -> SandboxError:
    return SandboxError(f"the network of `{name}` cannot be reached")


class Place:
    """The place of one container in the network of its project, for who looks after it. Raises `SandboxError`."""

    def __init__(self, name: str, container: str, store: Store) -> None:
        self._name = name
        self._container = container
        self._store = store
        self._network = _go_to(name, store)

    def fileno(self) -> int:
        """What is readable once the network has ended."""
        return self._network.fileno()

    def take(self, spec: SandboxSpec) -> tuple[SandboxSpec, int]:
        """What a start of the container is to be of, with all members in its /etc/hosts, and the descriptor of its
        network namespace, which the caller closes. Raises `SandboxError`, `StoreError`.
        """
        from buildkit_py.runner.shared_network import sit
        from buildkit_py.sandbox.network.plan import SERVICES

        members = self._store.networks.members(self._name)
        if self._container not in members:
            members = self._store.networks.join(self._name, {self._container: ()})
        number = SERVICES + members[self._container].seat
        if self.has_ended():
            self._network.close()
            self._network = _go_to(self._name, self._store)
        seat = sit(self._network, number)
        rows = sorted((member.seat, " ".join(member.names)) for member in members.values())
        lines = "".join([f"{seat.address(SERVICES + other)}\t{names}\n" for other, names in rows])
        hosts = reached_at(spec.hosts, spec.hostname, seat.address(number)) + lines.encode()
        return spec.replace(hosts=hosts, resolv_conf=seat.resolv_conf), seat.fd

    def has_ended(self) -> bool:
        """Whether there is no network any more."""
        poll = select.poll()
        poll.register(self._network.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """It is needed no more."""
        self._network.close()


def run(root: str, name: str, ready: Callable[[PybuildError | None], None]) -> None:
    """Have the network until nobody is in it any more, for `background.begin`."""
    from buildkit_py.runner.shared_network import SharedNetwork
    from buildkit_py.sandbox.network.choice import Choice
    from buildkit_py.store.locks import Lock

    directory = Store.open(root).networks.make(name)
    lock = Lock(directory + "/lock", keep=True)
    if not lock.acquire(wait=False):
        ready(None)  # another one was faster
        return
    try:
        choice = Choice("isolated", lambda message, hint: None)
        choice.network("isolated")  # or it says what is missing
        SharedNetwork(directory, choice.plan()).serve(lambda: ready(None))
    finally:
        lock.release()
