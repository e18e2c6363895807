"""The `oci` output: an OCI image layout, as a tar archive or a directory.

OCI image-spec `image-layout.md`; names are written as BuildKit and containerd
write them, the full one as `io.containerd.image.name` and the tag as
`org.opencontainers.image.ref.name`.
"""

from __future__ import annotations

from buildkit_py.exporter.layout import ArchiveLayout, DirectoryLayout
from buildkit_py.exporter.sink import Sink
from buildkit_py.image import manifest, reference
from buildkit_py.image.manifest import Descriptor, Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.exporter.image import Image
    from buildkit_py.exporter.layout import Layout
    from buildkit_py.store.store import Store

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
MARKER = b'{"imageLayoutVersion":"1.0.0"}'


def export_oci(
    store: Store,
    image: Image,
    dest: str,
    *,
    names: Sequence[str] = (),
    directory: bool = False,
) -> None:
    """Write an image to an archive (`dest` "-": standard output) or a directory.

    All its blobs must be in the store. Raises `ExportError`, `StoreError`.
    """
    if directory:
        write_layout(DirectoryLayout(dest, store), image, names)
        return
    with Sink(dest) as sink:
        archive = ArchiveLayout(sink, store)
        write_layout(archive, image, names)
        archive.end()


def write_layout(layout: Layout, image: Image, names: Sequence[str]) -> None:
    """The files of a layout; `index.json` last, so that a directory never names what is not there."""
    layout.directory("blobs")
    layout.directory("blobs/sha256")
    blobs = {item.digest: None for item in (*image.manifest.layers, image.manifest.config)}
    for digest in (*blobs, image.digest):
        layout.blob(blob_name(digest), digest)
    layout.file("oci-layout", MARKER)
    layout.file("index.json", manifest.dump(Index(manifest.OCI_INDEX, _entries(image, names))))


def blob_name(digest: str) -> str:
    """The path of a blob in a layout."""
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def _entries(image: Image, names: Sequence[str]) -> tuple[Descriptor, ...]:
    entry = Descriptor(image.manifest.media_type, image.digest, len(image.data), image.platform)
    return tuple(entry.replace(annotations=_annotations(name)) for name in names) or (entry,)


def _annotations(name: str) -> tuple[tuple[str, str], ...]:
    parsed = reference.parse(name)
    return (IMAGE_NAME, str(parsed)), (REF_NAME, parsed.tag or parsed.digest)
