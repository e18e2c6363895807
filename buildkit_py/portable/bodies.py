"""What is sent to a place on a server: a layer's blob, or a document, as the body of a request."""

from __future__ import annotations

import io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.http.transport import Reader
    from buildkit_py.portable.place import Server, Source
    from buildkit_py.store.layers import LayerBlob


def send_missing(server: Server, blobs: Sequence[LayerBlob], source: Source) -> int:
    """Send the blobs that a server lacks; how many bytes these have."""
    missing = 0
    for blob in blobs:
        if not server.has(blob):
            server.send(blob, source)
            missing += blob.size
    return missing


class BlobBody:
    """A layer's blob, checked against its digest while it is sent."""

    def __init__(self, blob: LayerBlob, source: Source) -> None:
        self.size = blob.size
        self._blob = blob
        self._source = source

    def open(self) -> Reader:
        """Its bytes from the beginning, for each attempt anew."""
        return self._source(self._blob)


class BytesBody:
    """Some bytes."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def open(self) -> io.BytesIO:
        """The bytes from the beginning, for each attempt anew."""
        return io.BytesIO(self._data)
