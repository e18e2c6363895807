"""The digest of the tar in a blob, which shows whether it is the blob of the layer that an image's config names."""

from __future__ import annotations

from buildkit_py.errors import SourceError
from buildkit_py.registry.origin import is_claim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.store.store import Store

_PIECE = 256 << 10
# The name of a note of a layer: the digests, a line each, of the blobs from elsewhere that are known to hold it.
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
        if blob is not None and blob.digest == digest and not is_claim(variant):
            return True
    return digest.encode() in _proved(store, layer_id)


def prove(store: Store, layer_id: str, digest: str) -> None:
    """Note that a blob from elsewhere was seen to hold a layer that exists."""
    known = _proved(store, layer_id)
    if digest.encode() not in known:
        store.layers.set_note(layer_id, CHECKED, b"\n".join((*known, digest.encode())))


def _proved(store: Store, layer_id: str) -> list[bytes]:
    return (store.layers.note(layer_id, CHECKED) or b"").split()
