"""A place: where a portable cache is kept, and what all such places can do."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol, TypeAlias

    from buildkit_py.http.transport import Reader
    from buildkit_py.portable.artifact import Signed
    from buildkit_py.registry.origin import Origin
    from buildkit_py.store.layers import LayerBlob

    # Opens the blob of a layer, which is fetched into the store first if it is not there.
    Source: TypeAlias = Callable[[LayerBlob], Reader]

    class Place(Protocol):
        """Where a portable cache is kept. Methods raise `SourceError` or `ExportError`."""

        name: str  # for people

        def read(self) -> Signed | None:
            """The document that is there, checked against its digest; None where nothing was written yet."""

        def origin(self, blob: LayerBlob) -> Origin:
            """Where a blob that the document names can be had."""

        def lacks(self, blob: LayerBlob) -> bool:
            """Whether a blob that the document names is not there (any more)."""

        def write(self, signed: Signed, blobs: Sequence[LayerBlob], source: Source) -> int:
            """Put a document there with its blobs, in place of the one before; how many bytes had to be sent.

            Whoever reads meanwhile finds either document whole. Blobs that are there are not sent.
            """

    class Server(Place, Protocol):
        """A place that takes blobs before the document that names them: it deletes by age, and not at each write.

        Shared by a thread that sends and one that writes, one after the other.
        """

        def has(self, blob: LayerBlob) -> bool:
            """Whether a blob is there. What once was is not asked for again."""

        def send(self, blob: LayerBlob, source: Source) -> None:
            """Send a blob that is not there."""
