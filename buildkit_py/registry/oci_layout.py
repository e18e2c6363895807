"""OCI image layouts, as directories and as tar archives: `oci-layout://PATH[:TAG][@DIGEST]`.

OCI image-spec `image-layout.md`. A name is the annotation
`org.opencontainers.image.ref.name` of an entry in `index.json`.
"""

from __future__ import annotations

import os

from buildkit_py.digest import digest_of, is_sha256
from buildkit_py.errors import ImageNotFound, SourceError
from buildkit_py.image import manifest, strict_json
from buildkit_py.image.manifest import MAX_MANIFEST, Descriptor, Index
from buildkit_py.image.strict_json import Malformed
from buildkit_py.record import Record
from buildkit_py.registry import bundle
from buildkit_py.registry.origin import Origin
from buildkit_py.registry.pull import Fetched, checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.registry.bundle import Bundle

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"


class Address(Record):
    """Where a layout is and which of its images is meant; both "" for the only one."""

    path: str
    tag: str = ""
    digest: str = ""


def parse_address(text: str) -> Address:
    """The address in `PATH[:TAG][@DIGEST]`; a path that exists as it stands wins over a tag."""
    path, at, digest = text.rpartition("@")
    if not at or not is_sha256(digest):
        path, digest = text, ""
    head, colon, tag = path.rpartition(":")
    if colon and head and "/" not in tag and not os.path.exists(path):
        return Address(head, tag, digest)
    return Address(path, "", digest)


class Layout:
    """One layout. Raises `ImageNotFound` where none is at the path, `SourceError` where it is broken."""

    def __init__(self, path: str) -> None:
        self._bundle: Bundle = bundle.open_bundle(path)
        marker = strict_json.parse_object(
            bundle.read_file(self._bundle, "oci-layout", MAX_MANIFEST), limit=MAX_MANIFEST, what="file `oci-layout`"
        )
        version = strict_json.text(marker, "imageLayoutVersion", "file `oci-layout`")
        if not version.startswith("1."):
            raise SourceError(f"the layout has the unknown version `{version}`", at=path)

    def first(self, address: Address) -> Fetched:
        """The manifest or index that an address leads to, for `pull.choose`."""
        if address.digest:
            piece = self._bundle.locate(_name(address.digest))
            if piece is None:
                raise ImageNotFound(f"the layout has no {address.digest}", at=address.path)
            descriptor = Descriptor("", address.digest, piece.size)
        else:
            index = manifest.parse(bundle.read_file(self._bundle, "index.json", MAX_MANIFEST), manifest.OCI_INDEX)
            if not isinstance(index, Index):
                raise Malformed("`index.json` is not an index")
            found = _named(index, address)
            if isinstance(found, Index):
                data = manifest.dump(found)
                return Fetched(data, found.media_type, digest_of(data))
            descriptor = found
        data = checked(descriptor, self.read(descriptor, MAX_MANIFEST), MAX_MANIFEST, "manifest")
        return Fetched(data, descriptor.media_type, descriptor.digest)

    def read(self, descriptor: Descriptor, limit: int) -> bytes:
        """The bytes of a small blob, not yet checked."""
        return bundle.read_file(self._bundle, _name(descriptor.digest), limit)

    def origin(self, descriptor: Descriptor) -> Origin:
        """Where a layer's blob is. Raises `ImageNotFound` where it is missing."""
        piece = self._bundle.locate(_name(descriptor.digest))
        if piece is None:
            raise ImageNotFound(f"the layout lacks the layer {descriptor.digest}", at=self._bundle.path)
        if piece.size != descriptor.size:
            raise SourceError(f"the layer {descriptor.digest} has {piece.size} bytes", at=self._bundle.path)
        return Origin(descriptor.digest, descriptor.size, descriptor.media_type, piece=piece)


def _named(index: Index, address: Address) -> Descriptor | Index:
    """The entry that is meant; the index itself where it is one image for several platforms."""
    if not address.tag and len(index.manifests) == 1:
        return index.manifests[0]
    wanted = address.tag or "latest"
    names: set[str] = set()
    for item in index.manifests:
        annotations = dict(item.annotations)
        own = {annotations.get(REF_NAME, ""), annotations.get(IMAGE_NAME, "")} - {""}
        if wanted in own:
            return item
        names |= own
    if not address.tag and not names and index.manifests:
        return index
    raise ImageNotFound(
        f"the layout has no image named `{wanted}`",
        at=address.path,
        notes=(f"it has {', '.join(sorted(names)) or 'no names'}",),
    )


def _name(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")
