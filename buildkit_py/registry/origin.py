"""Origins: where the blob of a layer that is not in the store yet can be had, as one text each.

`LayerMeta.origin` holds them. They are written when an image is resolved and
read when a step needs the layer's files, perhaps weeks later.

    registry DIGEST SIZE MEDIA-TYPE NAME         a repository of a registry
    file DIGEST SIZE MEDIA-TYPE OFFSET PATH      a part of a local file
    web DIGEST SIZE MEDIA-TYPE URL               a file of a plain web server
    data DIGEST SIZE MEDIA-TYPE BASE64           nowhere else: here are its bytes, which are few

What is said of such a blob is kept beside the layer as the variant `origin`. Images may have one layer in other
blobs, packed by others; each further one is the variant `origin-HEX`, and has an origin of its own behind the first.
"""

from __future__ import annotations

from buildkit_py.digest import digest_of, is_sha256
from buildkit_py.errors import StoreCorrupt
from buildkit_py.http.address import shown_url
from buildkit_py.record import Record
from buildkit_py.registry.bundle import Piece
from buildkit_py.store.layers import LayerBlob, Layers

ORIGIN = "origin"


class Origin(Record):
    """A blob and a place of it: `name` is a repository with its registry, or `piece` a part of a file, or `url`.

    `data` are its bytes, where they are so few that the origin itself has them.
    """

    digest: str
    size: int
    media_type: str
    name: str = ""
    piece: Piece | None = None
    url: str = ""
    data: bytes = b""


def write(origin: Origin) -> str:
    """The text of an origin."""
    head = f"{origin.digest} {origin.size} {origin.media_type}"
    if origin.data:
        from binascii import b2a_base64

        return f"data {head} {b2a_base64(origin.data, newline=False).decode('ascii')}"
    if origin.url:
        return f"web {head} {origin.url}"
    if origin.piece is None:
        return f"registry {head} {origin.name}"
    return f"file {head} {origin.piece.offset} {origin.piece.path}"


def read(text: str) -> Origin:
    """The origin in a text. Raises `StoreCorrupt` where it is none."""
    kind, _, rest = text.partition(" ")
    try:
        if kind == "registry":
            digest, size, media_type, name = rest.split(" ", 3)
            origin = Origin(digest, int(size), media_type, name)
        elif kind == "web":
            digest, size, media_type, url = rest.split(" ", 3)
            origin = Origin(digest, int(size), media_type, url=url)
        elif kind == "file":
            digest, size, media_type, offset, path = rest.split(" ", 4)
            origin = Origin(digest, int(size), media_type, piece=Piece(path, int(offset), int(size)))
        elif kind == "data":
            from binascii import a2b_base64

            digest, size, media_type, text = rest.split(" ", 3)
            origin = Origin(digest, int(size), media_type, data=a2b_base64(text, strict_mode=True))
        else:
            raise ValueError(kind)
    except ValueError as problem:
        raise StoreCorrupt("a layer's origin cannot be read") from problem
    if not is_sha256(origin.digest) or (origin.data and digest_of(origin.data) != origin.digest):
        raise StoreCorrupt("a layer's origin cannot be read")
    return origin


def variants(layers: Layers, id: str) -> list[str]:
    """The variants of a layer that somebody else said to be it."""
    return [name for name in layers.variants(id) if is_claim(name)]


def is_claim(variant: str) -> bool:
    """Whether a variant is a blob that somebody else said to be the layer."""
    return variant.partition("-")[0] == ORIGIN


def claimed(layers: Layers, id: str, digest: str) -> LayerBlob | None:
    """What was said of the blob with that digest, which need not be here; None if it was never said to be the layer."""
    said = (layers.described(id, variant) for variant in variants(layers, id))
    found = next((blob for blob in said if blob is not None and blob.digest == digest), None)
    meta = layers.get(id) if found is None else None
    for place in map(read, meta.origin if meta is not None else ()):
        if place.digest == digest and meta is not None:
            return LayerBlob(meta.diff_id, digest, place.size, place.media_type)
    return found


def claim(layers: Layers, id: str, blob: LayerBlob) -> None:
    """Keep beside a layer that a blob was said to be it."""
    if claimed(layers, id, blob.digest) != blob:
        first = layers.described(id, ORIGIN)
        is_first = first is None or first.digest == blob.digest
        layers.set_blob(id, ORIGIN if is_first else f"{ORIGIN}-{blob.digest[7:23]}", blob)


def where(origin: Origin) -> str:
    """The place of the bytes, for people."""
    if origin.piece is not None:
        return origin.piece.path
    return shown_url(origin.url) if origin.url else origin.name
