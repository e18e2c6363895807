"""Updating a lock file: ask what the names of a Buildfile stand for now, and write down what moved."""

from __future__ import annotations

import os

from buildkit_py.api import lock_file
from buildkit_py.api.build import Build, outline
from buildkit_py.api.lock_file import Lock
from buildkit_py.api.pins import NewPins
from buildkit_py.api.request import WantedTarget
from buildkit_py.api.session import Session
from buildkit_py.api.witness import Witness
from buildkit_py.errors import ExportError, SourceError, UsageError
from buildkit_py.exporter.sink import Sink
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.events import Emit


class Move(Record):
    """A pin that is another one now. `before` "": it is new; `after` "": nothing needs it any more."""

    name: str
    before: str
    after: str


class Updated(Record):
    """Where the lock file is, how many pins it has, and what moved."""

    path: str
    pins: int
    moves: tuple[Move, ...]


def update(request: BuildRequest, names: Sequence[str], emit: Emit, *, write: bool = True) -> Updated:
    """Pin everything that the file's targets name, or of what is pinned already only `names` anew.

    Every target counts whose parameters all have a default, unless the request names some. Nothing is built,
    but a text that a Buildfile.py has to know. Raises what building does, `UsageError` for a name that the
    targets do not have, `ExportError` where the file cannot be written.
    """
    path = lock_file.path_for(request.file)
    if not path:
        raise UsageError("a Buildfile from elsewhere has no lock file", hint="check it out and name its file")
    old, is_sound = _old(path, names)
    if not request.targets or request.targets == (WantedTarget(),):
        wanted = tuple(WantedTarget(target.name) for target in outline(request.file) if not _asks(target.parameters))
        request = request.replace(targets=wanted)
    with Session(request.store, sandboxes=True) as session, session.store.work_dir("update") as work:
        witness = Witness()
        build = Build(request, session, emit, witness)
        build.testing = True  # what tests take is pinned, too
        try:
            executor = build.executor(work.path, "none")
            pins = NewPins(old, names, lambda step: executor.settled(step, "1"))
            pins.sources(build.lower(work.path, pins))
        finally:
            build.agents.close()
    missing = sorted(set(names) - pins.met)
    if missing:
        known = ", ".join(name for name, _ in _flat(pins.lock())) or "nothing"
        raise UsageError(f"`{missing[0]}` is nothing that the targets name", hint=f"they name {known}")
    new = pins.lock()
    before, after = dict(_flat(old)), dict(_flat(new))
    moves = tuple(
        Move(name, before.get(name, ""), after.get(name, ""))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
    if write and (moves or not is_sound or not os.path.exists(path)):
        _write(path, new)
    return Updated(path, len(after), moves)


def _old(path: str, names: Sequence[str]) -> tuple[Lock, bool]:
    """What is pinned already, and whether the file is sound: where all is pinned anew, it need not be.

    Raises `SourceError` for one that is not, where it counts.
    """
    try:
        return lock_file.load(path) or Lock(), True
    except SourceError:
        if names:
            raise
        return Lock(), False


def _asks(parameters: tuple[tuple[str, str, str, str], ...]) -> bool:
    return any(not default for _, _, default, _ in parameters)


def _flat(lock: Lock) -> list[tuple[str, str]]:
    """Every pin, by the name that `pybuild update NAME` takes."""
    git = [(f"{url}#{ref}" if ref else url, pin.commit) for (url, ref), pin in lock.git]
    return [*lock.images, *git, *lock.http]


def _write(path: str, lock: Lock) -> None:
    try:
        text = lock_file.dump(lock).encode("utf-8")
    except ValueError as problem:
        raise ExportError("a name that is to be pinned is no UTF-8", at=path) from problem
    with Sink(path) as sink:
        sink.write(text)
