"""The store as a person looks after it: what takes how much, making it smaller, checking it."""

from __future__ import annotations

import os

from buildkit_py.config import store_root
from buildkit_py.store.store import Store, is_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.evict import Evicted
    from buildkit_py.store.usage import Share
    from buildkit_py.store.verify import Problem


def place() -> str:
    """The directory of the usual store."""
    return store_root(os.environ)


def usage(store: str = "") -> tuple[Share, ...]:
    """What each kind of thing takes of the disk. `store` is the store's directory, "" for the usual one."""
    from buildkit_py.store.usage import usage as measure

    return measure(owned(store))


def prune(*, everything: bool = False, dry_run: bool = False, store: str = "") -> tuple[Share, ...]:
    """Remove what no image needs and no build used of late, or all that no running build uses; what went.

    `dry_run`: what would go.
    """
    from buildkit_py.store.gc import prune as collect

    return collect(owned(store), everything, dry_run=dry_run)


def evict(limit: int = 0, *, dry_run: bool = False, store: str = "") -> Evicted:
    """Bring the store below so many bytes (0: those of the configuration); what was and is there, and what went.

    `dry_run`: what would be there and go.
    """
    from buildkit_py.api.keep_small import limit_for
    from buildkit_py.config import load
    from buildkit_py.store.evict import evict as shrink

    opened = owned(store)
    return shrink(opened, limit_for(opened.root, limit or load(os.environ).cache_max), dry_run=dry_run)


def evict_beside(limit: int, store: str) -> None:
    """`evict` in the background, where the store may have been removed meanwhile: then nothing is made anew."""
    if is_whole(store):
        evict(limit, store=store)


def verify(*, repair: bool = True, trees: bool = True, store: str = "") -> tuple[Problem, ...]:
    """Read everything and compare it with its name; what is damaged, which `repair` takes out of use.

    `trees`: the unpacked files of layers, too.
    """
    from buildkit_py.api.session import Session
    from buildkit_py.store.verify import verify as check

    with Session(store) as session:
        return check(session.store, repair, session.materializer().unpack if trees else None)


def owned(store: str) -> Store:
    """The store, as one who may read and remove all of it: layers of an ordinary user hold files of other owners."""
    from buildkit_py.sandbox.userns import enter

    enter()
    return Store.open(store)
