"""The image of a service: built, pulled, or what there is; what its container runs."""

from __future__ import annotations

import os
import tempfile

from buildkit_py.api.project_request import build_request, image_name
from buildkit_py.api.run import image_runnable, runnable_of
from buildkit_py.api.session import Session
from buildkit_py.errors import ComposeError, ImageNotFound, PybuildError, SourceError
from buildkit_py.runner.request import RunRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.api.request import BuildRequest
    from buildkit_py.api.witness import Witness
    from buildkit_py.events import Emit
    from buildkit_py.frontend.compose.project import Project, Service
    from buildkit_py.runner.memo import Runnable


def image(
    project: Project,
    service: Service,
    emit: Emit,
    *,
    caches: Callable[[BuildRequest, Service], BuildRequest] = lambda request, service: request,
    witness: Witness | None = None,
    build: bool = True,
    store: str = "",
) -> Runnable:
    """What a service's container runs. One that is built is built each time, from the cache as far as that goes.

    `caches` puts the portable caches of its `build` into a request, and `witness` takes down what is looked at. Without
    `build` nothing is built, and an image that is not there is an error. Raises whatever building and pulling do.
    """
    if service.build is not None and build:
        return _built(project, service, emit, caches, witness, store)
    name = image_name(project.name, service)
    never = service.pull in ("never", "build") or (service.build is not None and not service.image)
    with Session(store, offline=never) as session:
        request = RunRequest(name, pull=service.pull == "always" and not never, store=store)
        try:
            return image_runnable(request, session, emit)
        except PybuildError as problem:
            if service.build is None and never and isinstance(problem, SourceError):
                raise ImageNotFound(
                    f"the image `{name}` of `{service.name}` is not on this machine, and `pull_policy: {service.pull}` "
                    "asks nobody for it",
                    at=service.at,
                    hint=f"`pybuild pull {name}` fetches it; so does another `pull_policy`",
                ) from problem
            if service.build is not None and isinstance(problem, SourceError):
                raise ComposeError(
                    f"the image `{name}` of `{service.name}` is not here", at=service.at, hint="leave `--no-build` out"
                ) from problem
            problem.place(service.at)
            raise


def _built(
    project: Project,
    service: Service,
    emit: Emit,
    caches: Callable[[BuildRequest, Service], BuildRequest],
    witness: Witness | None,
    store: str,
) -> Runnable:
    from buildkit_py.api.build import build

    assert service.build is not None
    with tempfile.TemporaryDirectory(prefix="pybuild-inline-") as scratch:
        inline = ""
        if service.build.inline:
            inline = os.path.join(scratch, "Dockerfile")
            with open(inline, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(service.build.inline)
        wanted = caches(build_request(project, service, inline, store), service)
        built = build(wanted, emit, witness).targets
    if len(built) != 1:
        raise ComposeError(
            f"the default of `{service.name}` is {len(built)} targets", at=service.build.at, hint="name one: `target:`"
        )
    return runnable_of(built[0], store)
