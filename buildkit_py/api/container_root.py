"""Getting at the files of a container, whether it runs or not."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from itertools import count

from buildkit_py.api.containers import first_process, writable_root
from buildkit_py.errors import UsageError
from buildkit_py.store.containers import RESTARTING
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.events import Emit
    from buildkit_py.store.containers import About, Containers

_PAUSE = 0.01
_QUIET = 100  # looks, before it is said that there is a wait


@contextmanager
def opened_root(text: str, *, store: str = "", emit: Emit | None = None) -> Iterator[tuple[About, int]]:
    """A container and the descriptor of its root, as what runs in it has it.

    One that does not run has its layers and the directories of this machine that it mounts put together for as long,
    and cannot be started meanwhile. Only for a process with one thread, which may get other namespaces. Raises
    `UsageError`, `StoreError`, `SandboxError`. `emit` hears of a wait for others.
    """
    from buildkit_py.sandbox.container_root import running_root

    containers = Store.open(store).containers
    about = containers.find(text)
    if not about.body:
        raise UsageError(f"the description of the container `{about.name}` is damaged")
    while True:
        with as_it_is(containers, about, emit) as pidfd:
            if pidfd < 0:
                with _resting(about, store) as root:
                    yield about, root
                return
            root = running_root(pidfd)
            if root >= 0:
                try:
                    yield about, root
                finally:
                    os.close(root)
                return
        time.sleep(_PAUSE)  # it ends just now


@contextmanager
def as_it_is(containers: Containers, about: About, emit: Emit | None = None) -> Iterator[int]:
    """A pidfd of a container's first process, or -1 for one that does not run, and does not start meanwhile.

    Who is here first is waited for, of which `emit` hears. Raises `UsageError` for one between two
    starts, `StoreError`.
    """
    for look in count():
        pidfd = first_process(containers, about)
        if pidfd >= 0:
            try:
                yield pidfd
            finally:
                os.close(pidfd)
            return
        lock = containers.take(about.id)
        if lock is not None:
            try:
                containers.note_lost(about.id)
                yield -1
            finally:
                lock.release()
            return
        if containers.state(about.id).status == RESTARTING:
            raise UsageError(
                f"the container `{about.name}` is about to be started again",
                hint=f"`pybuild stop {about.name}` first, or try again when it runs",
            )
        if look == _QUIET and emit is not None:
            from buildkit_py.events import Notice

            emit(Notice("info", f"waiting for who starts, copies from or commits the container `{about.name}`"))
        time.sleep(_PAUSE)  # it is just being started, or somebody else has it as we would


@contextmanager
def _resting(about: About, store: str) -> Iterator[int]:
    from buildkit_py.api.run import layer_directories
    from buildkit_py.api.session import Session
    from buildkit_py.sandbox.container_root import RestingRoot
    from buildkit_py.sandbox.spec import SandboxSpec
    from buildkit_py.store.remove import remove_tree

    with Session(store) as session:
        path = session.store.containers.path(about.id)
        directories, host = layer_directories(session, about.layers, lambda event: None)
        root = writable_root(path, directories, host=host, store=session.store.root)
        remove_tree(root.work)  # each mount wants an empty one
        os.mkdir(root.work, 0o700)
        with RestingRoot(SandboxSpec.from_wire(about.body["spec"]).replace(root=root)) as fd:
            yield fd
