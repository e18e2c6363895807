"""Docker archives, what `docker save` writes: `docker-archive://FILE[:NAME]`.

A tar with `manifest.json`, a list of images with their config and layer files.
Old ones hold each layer as `ID/layer.tar` in plain tar, newer ones are OCI
layouts at the same time. There is no registry manifest in it, so one is made
here: always the same for the same archive.
"""

from __future__ import annotations

import hashlib
import os

from buildkit_py.digest import is_sha256
from buildkit_py.errors import ImageNotFound, PybuildError, SourceError
from buildkit_py.image import document, manifest, reference
from buildkit_py.image.document import MAX_CONFIG
from buildkit_py.image.layer_count import MAX_LAYERS
from buildkit_py.image.manifest import MAX_MANIFEST, Descriptor, Manifest
from buildkit_py.image.strict_json import Malformed, objects, parse_object, text, texts
from buildkit_py.registry import bundle
from buildkit_py.registry.bundle import Piece, PieceReader
from buildkit_py.registry.origin import Origin
from buildkit_py.registry.pull import Chosen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.registry.bundle import Bundle

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


def parse_address(text: str) -> tuple[str, str]:
    """(path, image name or "") from `PATH[:NAME]`; the shortest path that exists wins."""
    if os.path.exists(text):
        return text, ""
    at = text.find(":")
    while at > 0:
        if os.path.exists(text[:at]):
            return text[:at], text[at + 1 :]
        at = text.find(":", at + 1)
    return text, ""


class Archive:
    """One archive. Raises `ImageNotFound` where none is at the path, `SourceError` where it is broken."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._bundle: Bundle = bundle.open_bundle(path)
        self._origins: dict[str, Origin] = {}

    def image(self, name: str = "") -> Chosen:
        """The image of that name, or the only one. Its layers' places are known to `origin` from then on."""
        entry = self._entry(name)
        config_data = bundle.read_file(self._bundle, text(entry, "Config", "archive"), MAX_CONFIG)
        config = document.load(config_data)
        names = texts(entry, "Layers", "archive") or ()
        if len(names) != len(config.diff_ids) or len(names) > MAX_LAYERS:
            raise Malformed(f"the archive has {len(names)} layers, the image config names {len(config.diff_ids)}")
        layers = tuple(self._layer(name, diff_id) for name, diff_id in zip(names, config.diff_ids, strict=True))
        digest = "sha256:" + hashlib.sha256(config_data).hexdigest()
        made = Manifest(manifest.OCI_MANIFEST, Descriptor(manifest.OCI_CONFIG, digest, len(config_data)), layers)
        data = manifest.dump(made)
        return Chosen("sha256:" + hashlib.sha256(data).hexdigest(), made, data, config, config_data)

    def origin(self, descriptor: Descriptor) -> Origin:
        """Where a layer of an image that was read is."""
        return self._origins[descriptor.digest]

    def _entry(self, name: str) -> dict[str, Any]:
        try:
            raw = bundle.read_file(self._bundle, "manifest.json", MAX_MANIFEST)
        except ImageNotFound as problem:
            raise SourceError("it is not a docker archive: it has no `manifest.json`", at=self.path) from problem
        # The file is a list; as a field of an object it goes through the same checks as everything else.
        entries = objects(
            parse_object(b'{"images":' + raw + b"}", limit=MAX_MANIFEST + 16, what="archive's manifest"),
            "images",
            "archive's manifest",
        )
        if not name and len(entries) == 1:
            return entries[0]
        tags: list[str] = []
        for entry in entries:
            own = texts(entry, "RepoTags", "archive's manifest") or ()
            if name and (name in own or _full(name) in {_full(tag) for tag in own}):
                return entry
            tags += own
        raise ImageNotFound(
            f"the archive has no image named `{name}`" if name else "the archive has several images",
            at=self.path,
            notes=(f"it has {', '.join(tags) or 'no names'}",),
        )

    def _layer(self, name: str, diff_id: str) -> Descriptor:
        piece = self._bundle.locate(name)
        if piece is None:
            raise ImageNotFound(f"the archive lacks the layer `{name[:200]}`", at=self.path)
        compression, named = _compression(piece), "sha256:" + name.rpartition("/")[2]
        if compression == "uncompressed":
            digest = diff_id
        elif is_sha256(named):
            digest = named
        else:
            digest = _hash(piece)
        media_type = manifest.layer_media_type(compression)
        self._origins[digest] = Origin(digest, piece.size, media_type, piece=piece)
        return Descriptor(media_type, digest, piece.size)


def _full(name: str) -> str:
    try:
        return str(reference.parse(name))
    except PybuildError:
        return name


def _compression(piece: Piece) -> str:
    reader = PieceReader(piece)
    try:
        head = reader.read(4)
    finally:
        reader.close()
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "uncompressed")


def _hash(piece: Piece) -> str:
    hashed = hashlib.sha256()
    reader = PieceReader(piece)
    try:
        while data := reader.read():
            hashed.update(data)
    finally:
        reader.close()
    return "sha256:" + hashed.hexdigest()
