"""What an image runs, remembered under its digest: a run that finds it needs neither the manifest nor JSON.

An image's digest names its content, so what is remembered of it is never out
of date; a damaged memo fails its checksum and counts as absent.
"""

from __future__ import annotations

import marshal

from buildkit_py.image.config import Healthcheck, ImageConfig
from buildkit_py.record import Record
from buildkit_py.store.checksum import checked, unchecked
from buildkit_py.store.sealed import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.image.config import ImageDocument
    from buildkit_py.store.store import Store

_FORMAT = 5


class Runnable(Record):
    """Layers by their ids, lowest first, and the configuration that a container is made from.

    Not remembered, for only few ask: `image` is the manifest digest of an image, or of that of a target that was made
    one; `document` is a target's.
    """

    layers: tuple[str, ...]
    config: ImageConfig
    image: str = ""
    document: ImageDocument | None = None


def remember(store: Store, digest: str, runnable: Runnable) -> None:
    """Note what the image of that manifest digest runs. Raises `StoreError`."""
    # The whole configuration: the first run of an image is made of it, and none may be made of less.
    config = runnable.config
    health = config.healthcheck.values() if config.healthcheck is not None else None
    value = (_FORMAT, runnable.layers, config.replace(healthcheck=None).values(), health)
    store.work.write(_path(store, digest), checked(marshal.dumps(value, 4)))


def recall(store: Store, digest: str) -> Runnable | None:
    """What was noted; None if nothing was."""
    try:
        data = unchecked(read_regular(_path(store, digest)) or b"")
        if data is None:
            return None
        number, layers, values, health = marshal.loads(data)
        if number != _FORMAT:
            return None
        config = ImageConfig(*values).replace(healthcheck=Healthcheck(*health) if health is not None else None)
    except (ValueError, EOFError, TypeError):  # damaged, or written by another Python
        return None
    return Runnable(layers, config)


def _path(store: Store, digest: str) -> str:
    return store.path("memo", f"run-{digest.removeprefix('sha256:')}")
