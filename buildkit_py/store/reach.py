"""Reach: what of the store an image needs, from its manifest or index down to its layers' blobs.

OCI image-spec `manifest.md` and `image-index.md`; docker's schema 2 has the
same fields. Only the digests are read here; `image/` knows the documents.
"""

from __future__ import annotations

from buildkit_py.digest import is_sha256
from buildkit_py.errors import StoreError
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.store.blobs import Blobs

# Registries refuse larger manifests (distribution-spec, "Pushing Manifests": 4 MiB).
_LARGEST = 4 << 20
_DEEPEST = 4


class Reach(Record):
    """`blobs` and `diff_ids` are digests; `layers` the pairs (diff_id or "", digest of the blob) of the manifests.

    `problems` says what is missing or damaged of the documents themselves.
    """

    blobs: frozenset[str]
    diff_ids: frozenset[str]
    layers: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]


def reach(blobs: Blobs, manifest: str) -> Reach:
    """What the image with this manifest or index digest needs. Raises `StoreError` only if the disk fails."""
    found = _Found(blobs)
    found.visit(manifest, 0)
    return Reach(frozenset(found.blobs), frozenset(found.diff_ids), tuple(found.layers), tuple(found.problems))


class _Found:
    def __init__(self, store: Blobs) -> None:
        self.store = store
        self.blobs: set[str] = set()
        self.diff_ids: set[str] = set()
        self.layers: list[tuple[str, str]] = []
        self.problems: list[str] = []

    def visit(self, digest: str, depth: int) -> None:
        self.blobs.add(digest)
        document = self.document(digest, "manifest")
        for child in _items(document, "manifests"):
            # An index names the manifests of all platforms, and only some of them are here.
            name = _digest(child.get("digest"))
            if name and self.store.has(name) and name not in self.blobs and depth < _DEEPEST:
                self.visit(name, depth + 1)
        config = document.get("config")
        config_digest = _digest(config.get("digest")) if isinstance(config, dict) else ""
        if config_digest:
            self.blobs.add(config_digest)
            filesystem = self.document(config_digest, "config").get("rootfs")
            listed = filesystem.get("diff_ids") if isinstance(filesystem, dict) else None
            diff_ids = [d for item in listed if (d := _digest(item))] if isinstance(listed, list) else []
            self.diff_ids.update(diff_ids)
            digests = [d for layer in _items(document, "layers") if (d := _digest(layer.get("digest")))]
            self.blobs.update(digests)
            matching = diff_ids if len(diff_ids) == len(digests) else [""] * len(digests)
            self.layers.extend(zip(matching, digests, strict=True))

    def document(self, digest: str, what: str) -> dict[str, Any]:
        """A JSON object from a blob; empty, with a problem noted, if it is none."""
        import json

        try:
            if not self.store.has(digest):
                self.problems.append(f"its {what} {digest} is missing")
                return {}
            if self.store.size(digest) > _LARGEST:
                self.problems.append(f"its {what} {digest} is too large to be one")
                return {}
            document = json.loads(self.store.read(digest))
        except StoreError as problem:
            self.problems.append(problem.message)
            return {}
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            self.problems.append(f"its {what} {digest} is no JSON object")
            return {}
        return document


def _items(document: dict[str, Any], field: str) -> list[dict[str, Any]]:
    value = document.get(field)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _digest(value: object) -> str:
    """A digest, or "" for whatever else stands in its place."""
    return value if isinstance(value, str) and is_sha256(value) else ""
