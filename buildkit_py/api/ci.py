"""The caches of a CI job: its builds read what `restore` names, and `save` writes once what all of them came to."""

from __future__ import annotations

from buildkit_py.api.portable import PortableCaches
from buildkit_py.api.request import BuildRequest
from buildkit_py.api.session import Session
from buildkit_py.errors import PybuildError
from buildkit_py.record import Record
from buildkit_py.store.jobs import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.api.request import CacheSpec
    from buildkit_py.events import Emit
    from buildkit_py.portable.document import CacheDocument
    from buildkit_py.store.jobs import Outcome


class Held(Record):
    """What the caches of a job have: steps, layers and the bytes of these."""

    steps: int
    layers: int
    bytes: int


def restore(name: str, sources: Sequence[CacheSpec], dest: CacheSpec, emit: Emit, now: float) -> Held:
    """Let the builds of a job read these caches, and `save` write that one; what there is to be read.

    `name` is the job's, `now` in seconds since 1970. Nothing is fetched but what the caches say that they have: the
    builds get the rest when they want it. A cache that cannot be read is a notice.
    """
    job = Job(tuple(spec.values() for spec in sources), dest.values(), int(now))
    with Session() as session:
        session.store.jobs.begin(name, job)
        documents = PortableCaches(BuildRequest("", cache_from=tuple(sources)), session, emit).documents()
    sizes = {layer.blob.digest: layer.blob.size for document in documents for layer in document.layers}
    return Held(sum(len(document.steps) for document in documents), len(sizes), sum(sizes.values()))


def save(name: str, sources: Sequence[CacheSpec], dest: CacheSpec, emit: Emit) -> bool:
    """Write the steps and cache mounts of a job's builds; False where nothing was built. The job ends with it.

    Where a build failed, what the cache has of steps that this job did not reach stays, as long as their layers are
    there. What cannot be written is a notice, as with `--cache-to`.
    """
    with Session() as session:
        outcomes = session.store.jobs.outcomes(name)
        if outcomes:
            from buildkit_py.portable.gather import join

            request = BuildRequest("", cache_from=tuple(sources), cache_to=(dest.replace(mounts=True),))
            caches = PortableCaches(request, session, emit)
            document = join([_gathered(session, outcome) for outcome in outcomes])
            if not all(outcome.ok for outcome in outcomes):
                earlier = PortableCaches(BuildRequest("", cache_from=(dest,)), session, emit).kept()
                document = join([*earlier, document])
            caches.put(document, {step: needs for outcome in outcomes for step, needs in outcome.inputs})
            caches.save_mounts({(mount, key): id for one in outcomes for mount, key, id in one.mounts})
        session.store.jobs.end(name)
        return bool(outcomes)


def _gathered(session: Session, outcome: Outcome) -> CacheDocument:
    """What a build came to, with its layers packed as it packed them. A layer that was lost is left out."""
    from buildkit_py.api.lost_layers import forget
    from buildkit_py.executor.pack_layers import Packer
    from buildkit_py.portable.gather import gather

    store = session.store
    while True:
        packer = Packer(store, session.materializer(), outcome.compression, epoch=outcome.epoch)
        try:
            return gather(store, outcome.results, packer.variant, packer.blob)
        except PybuildError as problem:
            if not problem.layer or not forget(store, problem.layer):
                raise
