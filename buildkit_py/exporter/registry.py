"""The `registry` output: an image of the store pushed under its names."""

from __future__ import annotations

from buildkit_py.errors import UsageError
from buildkit_py.image import reference
from buildkit_py.registry.push import push

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.registry.client import Client
    from buildkit_py.registry.push import Progress
    from buildkit_py.store.store import Store


def export_registry(
    store: Store, client: Client, digest: str, names: Sequence[str], *, progress: Progress | None = None
) -> tuple[str, ...]:
    """Push the image whose manifest has that digest under each name; the names with the digest.

    Raises `UsageError` without a name, `RegistryError`, `DigestMismatch`, `StoreError`.
    """
    if not names:
        raise UsageError("there is no name to push the image under", hint="give one with -t, or name= in the output")
    pushed = []
    for name in names:
        parsed = reference.parse(name)
        push(store, client, digest, parsed, progress=progress)
        pushed.append(f"{parsed}@{digest}" if not parsed.digest else str(parsed))
    return tuple(pushed)
