"""Volumes, as containers get them and people handle them: filled at their first use, listed and removed."""

from __future__ import annotations

import os

from buildkit_py.api.cache import owned
from buildkit_py.errors import UsageError
from buildkit_py.image.entry import DIR
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from buildkit_py.api.session import Session
    from buildkit_py.runner.request import RunRequest
    from buildkit_py.store.locks import InUse
    from buildkit_py.store.volumes import Volume

_EINVAL = 22


class Mounted(Record):
    """A request in which each named volume is the directory of its files; their names, and what holds them here."""

    request: RunRequest
    names: tuple[str, ...]
    held: tuple[InUse, ...]

    def release(self) -> None:
        """Let others remove them."""
        for volume in self.held:
            volume.release()


def mounted(request: RunRequest, session: Session, layers: tuple[str, ...]) -> Mounted:
    """Make and hold the volumes that a request names. `layers` are the directories of the image's, lowest first.

    A new volume begins with the files that the image has at the place where it is mounted, and their owner and mode, as
    docker has it. Raises `UsageError` where that is no directory, `StoreError`.
    """
    volumes, names, held = [], [], []
    try:
        for source, target, only in request.volumes:
            if not source.startswith("/"):
                held.append(session.store.volumes.hold(source, _filler(session, layers, target)))
                names.append(source)
                source = held[-1].path
            volumes.append((source, target, only))
    except BaseException:
        for volume in held:
            volume.release()
        raise
    return Mounted(request.replace(volumes=tuple(volumes)), tuple(names), tuple(held))


def listed(*, store: str = "") -> list[Volume]:
    """All volumes, by name."""
    return owned(store).volumes.all()


def remove(name: str, *, store: str = "") -> str:
    """Remove a volume with its files; its name. Raises `UsageError` where a container has it, running or not."""
    opened = owned(store)

    def check() -> None:
        for about in opened.containers.all():
            if name in about.body.get("volumes", ()):
                raise UsageError(
                    f"the container `{about.name}` has the volume `{name}`", hint=f"`pybuild rm {about.name}` first"
                )

    opened.volumes.remove(name, check)
    return name


def remove_all(names: Iterable[str], *, removed: Callable[[str], object], store: str = "") -> None:
    """Remove volumes as `remove` does; those that are not there are passed over.

    Raises `UsageError` for those that are in use, once all others are gone.
    """
    there = {one.name for one in listed(store=store)}
    problems: list[UsageError] = []
    for name in names:
        if name not in there:
            continue
        try:
            removed(remove(name, store=store))
        except UsageError as problem:
            problems.append(problem)
    if problems:
        first = problems[0]
        raise UsageError(first.message, notes=tuple([one.message for one in problems[1:]]), hint=first.hint)


def _filler(session: Session, layers: tuple[str, ...], target: str) -> Callable[[str], None]:
    def fill(directory: str) -> None:
        from buildkit_py.executor.write_tree import write_tree
        from buildkit_py.image.union import Union

        union = Union(layers)
        top = union.lookup(target)
        if top is None:
            return
        if top.kind != DIR:
            raise UsageError(f"`{target}`, where a volume is to be, is no directory in the image")
        identity = session.materializer().identity
        write_tree(union.walk(target), directory, identity)
        try:
            os.chown(directory, top.stat.st_uid, top.stat.st_gid)
        except OSError as problem:
            if problem.errno != _EINVAL or not identity.single_id:
                raise
        os.chmod(directory, top.stat.st_mode & 0o7777)

    return fill
