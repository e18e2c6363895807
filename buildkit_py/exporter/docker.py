"""The `docker` output: what `docker load` reads, with an OCI layout in the same archive.

The format of `docker save` since docker 25: `manifest.json` names config and
layers by their place in the layout. The layers are packed as they are in the
image; `docker load` and podman know all three compressions.
"""

from __future__ import annotations

from buildkit_py import json_text
from buildkit_py.exporter.layout import ArchiveLayout, DirectoryLayout
from buildkit_py.exporter.oci import blob_name, write_layout
from buildkit_py.exporter.sink import Sink
from buildkit_py.image import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.exporter.image import Image
    from buildkit_py.exporter.layout import Layout
    from buildkit_py.store.store import Store


def export_docker(
    store: Store,
    image: Image,
    dest: str,
    *,
    names: Sequence[str] = (),
    directory: bool = False,
) -> None:
    """Write an image to an archive (`dest` "-": standard output) or a directory, as `export_oci` does."""
    if directory:
        _write(DirectoryLayout(dest, store), image, names)
        return
    with Sink(dest) as sink:
        archive = ArchiveLayout(sink, store)
        _write(archive, image, names)
        archive.end()


def _write(layout: Layout, image: Image, names: Sequence[str]) -> None:
    write_layout(layout, image, names)
    entry = {
        "Config": blob_name(image.manifest.config.digest),
        "RepoTags": [_tag(name) for name in names],
        "Layers": [blob_name(layer.digest) for layer in image.manifest.layers],
    }
    layout.file("manifest.json", json_text.ascii_dump([entry]))


def _tag(name: str) -> str:
    """A name as `docker save` writes it: without the default registry, but always with a tag."""
    parsed = reference.parse(name)
    return f"{parsed.short_name}:{parsed.tag or 'latest'}"
