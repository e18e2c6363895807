"""Images between the local store and registries: `push` and `pull`, with their progress as events."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

from buildkit_py.api.images import find
from buildkit_py.api.session import Session
from buildkit_py.errors import UsageError
from buildkit_py.events import BuildFinished, BuildStarted, StepFinished, StepProgress, StepQueued, StepStarted
from buildkit_py.image import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from buildkit_py.events import Emit
    from buildkit_py.registry.resolve import ResolvedImage

    Result = TypeVar("Result")

_AT_ONCE = 4


def push(text: str, emit: Emit, store: str = "") -> str:
    """Send an image of the store to the registry that its name says; its manifest's digest.

    Raises `ImageNotFound`, `RegistryError` and other `SourceError`s, `StoreError`.
    """
    from buildkit_py.registry.push import push as send

    name = reference.parse(text)
    with Session(store) as session:
        found = find(text, session.store.root)

        def work(progress: Callable[[int, int], None]) -> str:
            return send(session.store, session.client(), found.digest, name, progress=progress)

        emit(BuildStarted("", f"push {text}", 1))
        digest = _step(session, emit, f"push {name.familiar}", work)
        emit(BuildFinished(True, session.clock(), 1, 0))
        return digest


def pull(text: str, emit: Emit, platform: str = "", store: str = "") -> str:
    """Fetch an image with all its layers into the store, whatever the store knows; its manifest's digest.

    With a platform it is one for that, else an error. Raises `ImageNotFound`, `RegistryError` and other
    `SourceError`s, `StoreError`.
    """
    if "://" in text:
        raise UsageError(f"`{text}` is no name of an image in a registry")
    from buildkit_py.exporter.image import load

    with Session(store) as session:
        fetcher, resolver = session.fetcher(), session.resolver()
        emit(BuildStarted("", f"pull {text}"))
        exact = bool(platform)

        def resolve(_: object) -> ResolvedImage:
            return resolver.resolve(text, platform, pull=True, exact=exact)

        image = _step(session, emit, f"resolve {text}", resolve)
        blobs = load(session.store, image.digest).manifest.layers
        # By layer the blob that this image has it in; where it has one twice in several, any.
        digests = {layer: blob.digest for layer, blob in zip(image.layers, blobs, strict=True)}
        held = [layer for layer, digest in digests.items() if session.store.blobs.has(digest)]
        wanted = [layer for layer in digests if layer not in held]

        def fetch(layer: str) -> None:
            _step(
                session,
                emit,
                f"layer {layer[:12]}",
                lambda progress: fetcher.ensure_blob(layer, progress, digests[layer]),
            )

        for layer in held:
            emit(StepQueued(f"layer {layer[:12]}", f"layer {layer[:12]}"))
            emit(StepFinished(f"layer {layer[:12]}", "CACHED", at=session.clock()))
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="pybuild-pull")
        waiting = [pool.submit(fetch, layer) for layer in wanted]
        try:
            for one in waiting:
                # Short sleeps: the main thread does not notice a signal that comes just before a sleep.
                while not wait([one], 0.1).done:
                    pass
                one.result()
        finally:
            # After a failure or a signal nobody waits for a server that has fallen silent.
            pool.shutdown(wait=False, cancel_futures=True)
        emit(BuildFinished(True, session.clock(), len(wanted) + 1, len(held)))
        return image.digest


def _step(session: Session, emit: Emit, name: str, work: Callable[[Callable[[int, int], None]], Result]) -> Result:
    """Do a piece of work as a step that can be seen. Its name is its id: none comes twice."""
    emit(StepQueued(name, name))
    began = session.clock()
    emit(StepStarted(name, began))
    state = "FAILED"
    try:
        result = work(lambda done, total: emit(StepProgress(name, "bytes", done, total)))
        state = "DONE"
        return result
    finally:
        emit(StepFinished(name, state, session.clock() - began, session.clock()))
