"""Where a layer's tar goes: hashed, compressed, hashed again and written, in a second thread if it is worth it.

The first hash is taken by whoever gives the bytes: they are still in that processor's cache, and from another one, or
from memory, SHA-256 takes nearly twice as long. So it is no thread's own work, and the rest is the second one's.
"""

from __future__ import annotations

from buildkit_py.digest import sha256
from buildkit_py.image.compress import compressor
from buildkit_py.image.pipeline import Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.image.compress import Compressor

_PIECE = 1 << 20
_ALONE = 1 << 19


class TarSink:
    """Takes a tar in pieces and gives its blob to `write`, in pieces, from another thread if the tar is large.

    `expected` is about how many bytes the tar has. `size` is the blob's, `bytes` the tar's, once it is finished.
    """

    # Below this many bytes a thread's start and hand-over cost more than they save.
    _STRAIGHT = 2 << 20

    def __init__(self, write: Callable[[bytes], object], compression: str, level: int, *, expected: int) -> None:
        self._write = write
        self._tar_hash = sha256(expected)
        self._blob_hash = sha256(expected)
        self._compression = compression, level
        self._compressor: Compressor | None = None
        self._whole = -1  # how large the tar is, once that is known
        self._parts: list[bytes] = []
        self._pending = 0
        self.bytes = 0
        self.size = 0
        self._stage = Stage(self._compress) if expected > self._STRAIGHT else None

    def put(self, piece: bytes) -> None:
        """Some bytes of the tar."""
        if len(piece) >= _ALONE and self._pending:
            self._flush()  # joined to what came before it would be copied
        self._parts.append(piece)
        self._pending += len(piece)
        if self._pending >= _PIECE or len(piece) >= _ALONE:
            self._flush()

    def position(self) -> int:
        """Bytes of the tar so far."""
        return self.bytes + self._pending

    def _flush(self) -> None:
        parts = self._parts
        self.bytes += self._pending
        self._pending = 0
        self._parts = []
        piece = parts[0] if len(parts) == 1 else b"".join(parts)
        self._tar_hash.update(piece)
        if self._stage is not None:
            self._stage.put(piece)
        else:
            self._compress(piece)

    def _compress(self, piece: bytes) -> None:
        if self._compressor is None:
            self._compressor = compressor(*self._compression, size=self._whole)
        self._out(self._compressor.compress(piece))

    def _out(self, piece: bytes) -> None:
        if piece:
            self._blob_hash.update(piece)
            self.size += len(piece)
            self._write(piece)

    def finish(self) -> tuple[str, str]:
        """Everything through; the diff_id and the blob's digest."""
        if not self.bytes:
            self._whole = self._pending
        if self._parts:
            self._flush()
        if self._stage is not None:
            self._stage.close()
        if self._compressor is None:  # of no bytes at all
            self._compressor = compressor(*self._compression, size=0)
        self._out(self._compressor.flush())
        return f"sha256:{self._tar_hash.hexdigest()}", f"sha256:{self._blob_hash.hexdigest()}"

    def abandon(self) -> None:
        """End the thread; nobody wants the result."""
        if self._stage is not None:
            self._stage.close(quiet=True)
            self._stage = None
