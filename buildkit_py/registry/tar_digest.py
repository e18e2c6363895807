"""The digest of the tar in a blob, which shows whether it is the blob of the layer that an image's config names."""

from __future__ import annotations

from buildkit_py.errors import SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.store.store import Store

_PIECE = 256 << 10
# The name of a note of a layer: the digest of the one blob from elsewhere that is known to hold it.
CHECKED = "checked"


def tar_digest(read: Callable[[int], bytes], media_type: str) -> str:
    """`sha256:…` of what a blob, given by `read(size)` and read to its end, holds when it is decompressed.

    Raises `SourceError` for damaged data, and whatever `read` raises: also
    where the data is damaged, for that its digest is wrong says more.
    """
    from hashlib import sha256

    from buildkit_py.image.compress import Counted, decompress, kind_of
    from buildkit_py.image.limits import DEFAULT
    from buildkit_py.image.unpack import limited

    source = Counted(read)
    hasher = sha256()
    try:
        kind = kind_of(media_type, source.peek(6))
        for piece in limited(decompress(source.read, kind), source, DEFAULT):
            hasher.update(piece)
    except SourceError:
        _drain(read)
        raise
    _drain(read)
    return f"sha256:{hasher.hexdigest()}"


def _drain(read: Callable[[int], bytes]) -> None:
    while read(_PIECE):
        pass


def is_proved(store: Store, layer_id: str, digest: str) -> bool:
    """Whether a blob is here and known to hold a layer: it was packed here, unpacked here, or looked at once."""
    if not store.blobs.has(digest):
        return False
    for variant in store.layers.variants(layer_id):
        blob = store.layers.described(layer_id, variant)
        if blob is not None and blob.digest == digest and variant != "origin":
            return True
    return store.layers.note(layer_id, CHECKED) == digest.encode()
