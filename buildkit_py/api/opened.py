"""An opened image: found in the store, else pulled, with its document, its layers and how large they are packed."""

from __future__ import annotations

from buildkit_py.errors import ImageNotFound
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.session import Session
    from buildkit_py.image.config import ImageDocument


class OpenedImage(Record):
    """`layers` are ids of layers in the store, lowest first, `packed` the bytes of their blobs, as an image's manifest
    has them, in the same order. `digest` is the manifest's.
    """

    name: str
    digest: str
    document: ImageDocument
    layers: tuple[str, ...]
    packed: tuple[int, ...]

    @property
    def size(self) -> int:
        """The bytes of all layers as they are pulled."""
        return sum(self.packed)

    def steps(self) -> list[str]:
        """For each layer, lowest first, the instruction that made it; "" where the image does not say."""
        made = [entry.created_by for entry in self.document.history if not entry.empty_layer]
        # Where the history is shorter than it should be, the lowest layers are the unnamed ones, as in BuildKit.
        return ([""] * len(self.layers) + made)[-len(self.layers) :] if self.layers else []


def open_image(session: Session, name: str) -> OpenedImage:
    """The image of that name or digest, pulled (but for its layers) where the store lacks it.

    Raises `ImageNotFound` and what asking a registry raises.
    """
    from buildkit_py.api.images import find
    from buildkit_py.exporter.image import load
    from buildkit_py.registry.resolve import load_image

    try:
        found = load_image(session.store, find(name, session.store.root).digest)
    except ImageNotFound:
        found = None
    if found is None:
        found = session.resolver().resolve(name)
    manifest = load(session.store, found.digest).manifest
    return OpenedImage(name, found.digest, found.document, found.layers, tuple(layer.size for layer in manifest.layers))
