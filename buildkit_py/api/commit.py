"""Committing a container: what it wrote becomes a layer, and that on its image another image."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import ExitStack

from buildkit_py.api.container_root import as_it_is
from buildkit_py.errors import ContextError, UsageError
from buildkit_py.record import Record
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.session import Session
    from buildkit_py.events import Emit
    from buildkit_py.image.config import ImageDocument
    from buildkit_py.image.entry import Entry
    from buildkit_py.store.containers import About


class Committed(Record):
    """`image` is the manifest digest, `name` what it was named, "" for nothing. `whole`: nothing went on meanwhile."""

    image: str
    name: str
    whole: bool


def commit(
    text: str,
    name: str = "",
    *,
    changes: Sequence[str] = (),
    message: str = "",
    author: str = "",
    store: str = "",
    emit: Emit | None = None,
) -> Committed:
    """Make an image of a container, which stands still meanwhile, and name it.

    Its configuration is that of the container's image with `changes`, instructions of a Buildfile. What lies in its
    volumes and in memory is no part of it. `emit` hears of a wait for others. Only for a process with one thread.
    Raises `UsageError`, `BuildfileError` for a change that is wrong, `ExportError` for what may not leave this machine,
    `ContextError`, `StoreError`.
    """
    from buildkit_py.image import reference

    full = reference.parse(name) if name else None
    if full is not None and full.digest:
        raise UsageError(f"`{name}` has a digest and can be no name of a new image")
    containers = Store.open(store).containers
    about = containers.find(text)
    if not about.body:
        raise UsageError(f"the description of the container `{about.name}` is damaged")
    with as_it_is(containers, about, emit) as pidfd:
        if pidfd >= 0:
            from buildkit_py.sandbox.container_root import enter_user_namespace

            enter_user_namespace(pidfd)
        from buildkit_py.api.session import Session

        with Session(store) as session:
            return _commit(session, about, pidfd, str(full or ""), changes, message, author)


def _commit(
    session: Session, about: About, pidfd: int, name: str, changes: Sequence[str], message: str, author: str
) -> Committed:
    from buildkit_py.api.write_out import PACKED_AS
    from buildkit_py.executor.make_layer import from_entries
    from buildkit_py.executor.pack_layers import Packer
    from buildkit_py.exporter.image import Built, make_image, refuse_impure, timestamp
    from buildkit_py.frontend.changes import changed
    from buildkit_py.image import platform
    from buildkit_py.image.config import History
    from buildkit_py.image.layer_count import check_count

    store = session.store
    document = _document(about)
    config = changed(document, changes, name="--change")
    for layer in about.layers:
        store.layers.use(layer)
    refuse_impure(map(store.layers.get, about.layers))
    check_count(len(about.layers) + 1)
    base = store.snapshots.push_all("", about.layers)
    compression = PACKED_AS[session.config.compression]
    with ExitStack() as held:
        whole = True
        if pidfd >= 0:
            from buildkit_py.sandbox.pause import Paused

            whole = held.enter_context(Paused(pidfd, store.containers.state(about.id).cgroups)).complete
        entries = _entries(store.containers.path(about.id) + "/upper")
        layer = from_entries(store, base, entries, compression=compression, impure=False).id if entries else ""
    now = timestamp(int(time.time()))
    entry = History(shlex.join(about.command), empty_layer=not layer, created=now, comment=message, author=author)
    if layer:
        store.snapshots.push(base, layer)
    on = platform.of_image(document)
    built = Built(
        config=config,
        history=(*document.history, entry),
        platform=str(on),
        layers=(*about.layers, layer) if layer else about.layers,
        author=author or document.author,
        created=now,
        inherited=len(document.history),
    )
    image = make_image(store, built, Packer(store, session.materializer(), compression).blob)
    if name:
        store.images.set(name, image)
    return Committed(image, name, whole)


def _document(about: About) -> ImageDocument:
    from buildkit_py.image import document
    from buildkit_py.image.strict_json import Malformed

    try:
        return document.load(about.body["document"])
    except (KeyError, Malformed) as problem:
        raise UsageError(
            f"of the container `{about.name}` it is not known what its image says",
            hint="it was made by an older pybuild; start one anew",
        ) from problem


def _entries(upper: str) -> list[Entry]:
    from buildkit_py.runner.copying.upper_source import upper_entries

    try:
        return upper_entries(upper)
    except OSError as problem:
        raise ContextError(
            f"what the container wrote cannot be read: {(problem.strerror or os.strerror(problem.errno or 0)).lower()}",
            at=upper,
        ) from problem
