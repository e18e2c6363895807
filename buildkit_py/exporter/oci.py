"""The `oci` output: an OCI image layout, as a tar archive or a directory.

OCI image-spec `image-layout.md`; names are written as BuildKit and containerd
write them, the full one as `io.containerd.image.name` and the tag as
`org.opencontainers.image.ref.name`.
"""

from __future__ import annotations

import os

from buildkit_py.errors import ExportError, SourceError
from buildkit_py.exporter.layout import ArchiveLayout, DirectoryLayout
from buildkit_py.exporter.sink import Sink
from buildkit_py.image import manifest, reference, strict_json
from buildkit_py.image.manifest import MAX_MANIFEST, Descriptor, Index
from buildkit_py.json_text import ascii_dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from buildkit_py.exporter.image import Image
    from buildkit_py.exporter.layout import Layout
    from buildkit_py.store.store import Store

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX = "file `index.json`"


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
        write_layout(DirectoryLayout(dest, store), image, names, _others(dest, names))
        return
    with Sink(dest) as sink:
        archive = ArchiveLayout(sink, store)
        write_layout(archive, image, names)
        archive.end()


def write_layout(layout: Layout, image: Image, names: Sequence[str], others: Sequence[dict[str, Any]] = ()) -> None:
    """The files of a layout; `index.json` last, so that a directory never names what is not there.

    `others` are entries that it has already, and keeps.
    """
    layout.directory("blobs")
    layout.directory("blobs/sha256")
    blobs = {item.digest: None for item in (*image.manifest.layers, image.manifest.config)}
    for digest in (*blobs, image.digest):
        layout.blob(blob_name(digest), digest)
    layout.file("oci-layout", MARKER)
    index = manifest.dump(Index(manifest.OCI_INDEX, _entries(image, names)))
    if others:
        whole = strict_json.parse_object(index, limit=MAX_MANIFEST, what=_INDEX)
        index = ascii_dump({**whole, "manifests": [*others, *whole["manifests"]]})
    layout.file("index.json", index)


def _others(dest: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """The entries of a layout that is there already, but those of these names (where there are none, of no name).

    Caches that lie in the same directory stay, too. Raises `ExportError` for an `index.json` that cannot be read: what
    it names would be lost.
    """
    try:
        with open(os.path.join(dest, "index.json"), "rb") as file:
            index = strict_json.parse_object(file.read(MAX_MANIFEST + 1), limit=MAX_MANIFEST, what=_INDEX)
        new = {dict(_annotations(name))[IMAGE_NAME] for name in names} or {""}
        return [
            entry
            for entry in strict_json.objects(index, "manifests", _INDEX)
            if "artifactType" in entry
            or dict(strict_json.text_pairs(entry, "annotations", _INDEX)).get(IMAGE_NAME, "") not in new
        ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, SourceError) as problem:
        said = problem.message if isinstance(problem, SourceError) else problem.strerror
        message = f"the directory is a layout already, and cannot be read: {said}"
        raise ExportError(message, at=dest, hint="remove it, or name another one") from problem


def blob_name(digest: str) -> str:
    """The path of a blob in a layout."""
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def _entries(image: Image, names: Sequence[str]) -> tuple[Descriptor, ...]:
    entry = Descriptor(image.manifest.media_type, image.digest, len(image.data), image.platform)
    return tuple(entry.replace(annotations=_annotations(name)) for name in names) or (entry,)


def _annotations(name: str) -> tuple[tuple[str, str], ...]:
    parsed = reference.parse(name)
    return (IMAGE_NAME, str(parsed)), (REF_NAME, parsed.tag or parsed.digest)
