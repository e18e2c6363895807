"""Recompressing: a plain tar that the store has, through a compressor, without looking into it."""

from __future__ import annotations

from buildkit_py.image.compress import MEDIA_TYPES, compressor
from buildkit_py.image.pipeline import Stage
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE = 1 << 20


class Recompressed(Record):
    """The new blob's digest, size and media type; `diff_id` is the sha256 of the tar that went through."""

    diff_id: str
    digest: str
    size: int
    media_type: str


def recompress(
    read: Callable[[int], bytes], write: Callable[[bytes], object], *, compression: str, level: int = 0
) -> Recompressed:
    """Read a tar to its end and write it compressed. Raises what `read` and `write` raise."""
    import hashlib

    tar = hashlib.sha256()
    blob = hashlib.sha256()
    size = 0
    packer = compressor(compression, level)

    def out(piece: bytes) -> None:
        nonlocal size
        if piece:
            blob.update(piece)
            size += len(piece)
            write(piece)

    stage = Stage(lambda piece: out(packer.compress(piece)))
    try:
        while piece := read(_PIECE):
            stage.put(piece)
            tar.update(piece)
    except BaseException:
        stage.close(quiet=True)
        raise
    stage.close()
    out(packer.flush())
    return Recompressed(f"sha256:{tar.hexdigest()}", f"sha256:{blob.hexdigest()}", size, MEDIA_TYPES[compression])
