"""Making a container for the background: from a request to what the store knows of it, which a supervisor starts."""

from __future__ import annotations

import os
import time

from buildkit_py.api.project_network import go_to, project_of
from buildkit_py.api.run import (
    buildfile_place,
    built_runnable,
    check_ports,
    image_runnable,
    layer_directories,
    network_choice,
    published,
)
from buildkit_py.api.session import Session
from buildkit_py.errors import StoreError
from buildkit_py.record import Record
from buildkit_py.runner.restart import Restart
from buildkit_py.store.containers import About
from buildkit_py.store.networks import check_alias
from buildkit_py.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit_py.events import Emit
    from buildkit_py.runner.memo import Runnable
    from buildkit_py.runner.request import RunRequest


class Detached(Record):
    """What is asked of a container in the background. `stop_signal` 0 is the image's own; `patience` in seconds."""

    name: str = ""
    restart: Restart = Restart()
    remove: bool = False
    stop_signal: int = 0
    patience: float = 10.0


def build_and_make(request: RunRequest, wanted: Detached, emit: Emit) -> str:
    """Make a container, of a target that is built or an image that is pulled before; its id.

    Raises whatever building and pulling do, and as `make`.
    """
    if wanted.name:  # what can be refused is refused before anything is built
        Store.open(request.store).containers.check_name(wanted.name)
    for alias in request.aliases:
        check_alias(alias)
    check_ports(request)
    project = project_of(request.network)
    if not project:
        return _build_and_make(request, wanted, emit)
    with go_to(project, store=request.store):
        return _build_and_make(request.replace(network="isolated"), wanted, emit, project)


def _build_and_make(request: RunRequest, wanted: Detached, emit: Emit, project: str = "") -> str:
    place = buildfile_place(request.what)
    built = built_runnable(request, *place, emit) if place is not None else None
    with Session(request.store) as session:
        runnable = built if built is not None else image_runnable(request, session, emit)
        about = make(session, request, wanted, runnable, emit, project=project)
        if project:
            session.store.networks.join(project, {about.name: request.aliases})
        return about.id


def make(
    session: Session,
    request: RunRequest,
    wanted: Detached,
    runnable: Runnable,
    emit: Emit,
    *,
    project: str = "",
    more: Mapping[str, object] | None = None,
) -> About:
    """Make a container of what it is to run.

    `project` is the one whose network it is on, "" for none: this process is in it, and the container gets its place
    there from the caller. `more` is kept in the `body` of what is known about it. Raises `UsageError` for a taken name,
    `SandboxError`, `StoreError`, and whatever fetching the image's layers does.
    """
    from buildkit_py.api.volumes import mounted
    from buildkit_py.runner.container import argv, container_spec
    from buildkit_py.runner.health import check_of
    from buildkit_py.sandbox.signal_number import signal_number
    from buildkit_py.sandbox.spec import RootFilesystem

    for layer in runnable.layers:
        session.store.layers.use(layer)
    directories, host = layer_directories(session, runnable.layers, emit)
    id = os.urandom(32).hex()
    root = RootFilesystem(layers=directories, host=host)
    networks = network_choice(session.config, emit)
    volumes = mounted(request, session, directories)
    try:
        spec = container_spec(runnable.config, volumes.request, root, request.hostname or id[:12], networks)
        check = check_of(runnable.config.healthcheck, runnable.config.shell, request.health)
        stop = wanted.stop_signal or signal_number(runnable.config.stop_signal or "TERM")
        body = {
            "spec": spec.wire(),
            "restart": wanted.restart.values(),
            "remove": wanted.remove,
            "stop": stop,
            "patience": wanted.patience,
            "bounds": request.bounds.values(),
            "volumes": volumes.names,
            "check": check.values() if check is not None else (),
            "ports": [port.values() for port in published(request, runnable, spec.network, emit)],
            "document": _document(session, runnable),
            "project": project,
            **(more or {}),
        }
        about = About(
            id=id,
            name=wanted.name or _name(request.what, id),
            what=request.what,
            command=argv(runnable.config, request),
            layers=runnable.layers,
            created=time.time(),
            body=body,
        )
        session.store.containers.create(about)
        return about
    finally:
        volumes.release()  # they stay now because the container is there


def _document(session: Session, runnable: Runnable) -> bytes:
    """The configuration document of what a container is made of: its image may go before somebody commits it."""
    from buildkit_py.image import document, platform
    from buildkit_py.image.config import ImageDocument

    if runnable.image:
        from buildkit_py.exporter.image import load

        try:
            return load(session.store, runnable.image).config_data
        except StoreError:
            pass  # only what a container runs is known of it
    here = platform.local()
    return document.dump(runnable.document or ImageDocument(here.architecture, here.os, runnable.config))


def _name(what: str, id: str) -> str:
    """A name for one that nobody named: what it runs, and the beginning of its id."""
    last = what.rpartition("/")[2].partition("@")[0].replace(":", "-") or "container"
    plain = "".join([ch if ch.isascii() and (ch.isalnum() or ch in "_.-") else "-" for ch in last]).strip("_.-")
    return f"{plain or 'container'}-{id[:6]}"
