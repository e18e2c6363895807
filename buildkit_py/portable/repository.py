"""A portable cache in a registry: an artifact under a tag, whose blobs any build that may pull can use.

OCI distribution-spec, "Push" and "Pull". The tag is moved last, so who reads
meanwhile finds the older cache. Deleting blobs that no manifest names any
more is the registry's own work.
"""

from __future__ import annotations

from buildkit_py.digest import digest_of
from buildkit_py.errors import DigestMismatch, ImageNotFound, RegistryError, UsageError
from buildkit_py.image import reference as references
from buildkit_py.image.manifest import OCI_MANIFEST
from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable import artifact
from buildkit_py.portable.artifact import ARTIFACT_TYPE, LARGEST
from buildkit_py.portable.bodies import BlobBody, BytesBody, send_missing
from buildkit_py.registry.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.portable.artifact import Artifact, Signed
    from buildkit_py.portable.place import Source
    from buildkit_py.registry.client import Client
    from buildkit_py.store.layers import LayerBlob


class Repository:
    """Implements `Server`. Raises `UsageError` for a name that is none, or has a digest: a cache moves.

    `kind` is the artifact type of what is kept; `suffix` stands behind the tag.
    """

    def __init__(self, client: Client, name: str, kind: str = ARTIFACT_TYPE, suffix: str = "") -> None:
        self.name = name
        self._kind = kind
        self._client = client
        self._looked = False
        self._there: set[str] = set()  # blobs, by digest
        self._manifest = b""
        self._before: Artifact | None = None  # of steps: what is not patched is not fetched
        parsed = references.parse(name)
        self._reference = parsed.replace(tag=parsed.tag + suffix) if parsed.tag else parsed
        if self._reference.digest:
            raise UsageError(f"the cache `{name}` is named by a digest", hint="name it by a tag")

    def read(self) -> Signed | None:
        """See `Place`."""
        try:
            manifest = self._client.manifest(self._reference)
        except ImageNotFound:
            return None
        return self._load(manifest.data).signed()

    def origin(self, blob: LayerBlob) -> Origin:
        """See `Place`."""
        return Origin(blob.digest, blob.size, blob.media_type, name=self._reference.name)

    def lacks(self, blob: LayerBlob) -> bool:
        """See `Place`. It is asked: what a manifest names may be gone all the same."""
        return not self._client.has(self._reference, blob.digest)

    def write(self, signed: Signed, blobs: Sequence[LayerBlob], source: Source) -> int:
        """See `Place`."""
        self._look()
        try:
            return self._write(signed, blobs, source)
        except RegistryError:
            # It may lack what the cache before names: a damaged disk, or somebody deleted it. So each one is asked for.
            if not self._there:
                raise
            self._before, self._there = None, set()
            return self._write(signed, blobs, source)

    def _write(self, signed: Signed, blobs: Sequence[LayerBlob], source: Source) -> int:
        client, reference, before = self._client, self._reference, self._before
        manifest, document = artifact.make(signed, blobs, self._kind, before)
        sent = send_missing(self, blobs, source)
        if document:
            client.upload(reference, digest_of(document), BytesBody(document))
        client.put_manifest(reference, reference.identifier, manifest, OCI_MANIFEST)
        if manifest != self._manifest:
            sent += len(document) + len(manifest)
        return sent

    def has(self, blob: LayerBlob) -> bool:
        """See `Server`."""
        there = self._known()
        if blob.digest not in there and self._client.has(self._reference, blob.digest):
            there.add(blob.digest)
        return blob.digest in there

    def send(self, blob: LayerBlob, source: Source) -> None:
        """See `Server`."""
        self._client.upload(self._reference, blob.digest, BlobBody(blob, source))
        self._known().add(blob.digest)

    def _known(self) -> set[str]:
        """What is there: at first what the cache before names, of which a registry itself deletes nothing."""
        self._look()
        return self._there

    def _look(self) -> None:
        """Learn what is there so far, once."""
        if self._looked:
            return
        try:
            self._manifest = self._client.manifest(self._reference).data
            self._there = set(artifact.blobs_of(self._manifest))
            if self._kind == ARTIFACT_TYPE:
                self._before = self._load(self._manifest)
        except (ImageNotFound, DigestMismatch, Malformed):
            pass  # what is no cache is written over, and so is one whose document is lost
        self._looked = True

    def _load(self, manifest: bytes) -> Artifact:
        def document(digest: str) -> bytes:
            return self._client.small_blob(self._reference, digest, LARGEST, "cache document")

        return artifact.load(manifest, document, self._kind)
