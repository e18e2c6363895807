"""A portable cache in the cache of GitHub Actions, for jobs that have no other place of their own.

    pybuild-NAME-TIME             the artifact's manifest; the newest one counts
    pybuild-HEX                   document and layers, by their sha256

Entries never change, so each save adds a manifest. The service deletes what
nobody asked for in a week, and the oldest where a repository has too much: a
layer that is gone is made again.
"""

from __future__ import annotations

import os
import time

from buildkit_py.digest import digest_of
from buildkit_py.errors import ImageNotFound, RegistryError
from buildkit_py.http import actions
from buildkit_py.http.actions import ActionsCache
from buildkit_py.http.retry import PASSING, retrying
from buildkit_py.http.transport import Broken
from buildkit_py.image.manifest import MAX_MANIFEST
from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable import artifact
from buildkit_py.portable.artifact import ARTIFACT_TYPE, LARGEST
from buildkit_py.portable.bodies import BlobBody, BytesBody, send_missing
from buildkit_py.registry.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.http.transport import Body, Transport
    from buildkit_py.portable.artifact import Artifact, Signed
    from buildkit_py.portable.place import Source
    from buildkit_py.store.layers import LayerBlob

_BLOBS = actions.version("pybuild blobs 1")


class ActionsEntries:
    """Implements `Server`. `tag` tells several caches of one repository apart (buildx: `scope`)."""

    def __init__(self, transport: Callable[[], Transport], tag: str, kind: str = ARTIFACT_TYPE) -> None:
        self.name = f"{actions.SCHEME}{tag}"
        self._transport = transport
        self._kind = kind
        self._beginning = f"pybuild-{tag}-"
        # A key that begins as another's name does is of another version.
        self._version = actions.version(f"pybuild manifests 1 {kind} {tag}")
        self._there: set[str] = set()  # blobs, by digest
        self._begun: dict[tuple[str, str], str] = {}  # where the file of an entry goes, by key and version

    def read(self) -> Signed | None:
        """See `Place`."""
        manifest = self._newest()
        found = self._artifact(manifest) if manifest is not None else None
        return found.signed() if found is not None else None

    def origin(self, blob: LayerBlob) -> Origin:
        """See `Place`."""
        return Origin(blob.digest, blob.size, blob.media_type, url=actions.name(_key(blob.digest), _BLOBS))

    def lacks(self, blob: LayerBlob) -> bool:
        """See `Place`."""
        return not self.has(blob)

    def write(self, signed: Signed, blobs: Sequence[LayerBlob], source: Source) -> int:
        """See `Place`."""
        newest, before = self._newest(), None
        if newest is not None and self._kind == ARTIFACT_TYPE:  # what is not patched is not fetched
            try:
                before = self._artifact(newest)
            except Malformed:
                pass  # it is written over
        manifest, document = artifact.make(signed, blobs, self._kind, before)
        sent = send_missing(self, blobs, source)
        if newest == manifest and (before is not None or self._has(digest_of(document))):
            return sent
        if document and not self._put_document(document):
            # Who began its entry never ended it, so it takes nothing: as other bytes it is another one.
            manifest, document = artifact.make(signed, blobs, self._kind, salt=time.time_ns().to_bytes(8, "little"))
            if not self._put_document(document):
                raise RegistryError("the cache service does not take the cache's document", at=self.name)
        if not self._put(f"{self._beginning}{time.time_ns():020}", self._version, BytesBody(manifest)):
            raise RegistryError("the cache service says that it has this save already", at=self.name)
        return sent + len(document) + len(manifest)

    def _put_document(self, document: bytes) -> bool:
        """Whether a document is there now."""
        digest = digest_of(document)
        return self._put(_key(digest), _BLOBS, BytesBody(document)) or self._has(digest)

    def _newest(self) -> bytes | None:
        """The manifest that is there so far."""
        # No entry has the beginning alone as its key.
        return self._get(self._beginning, self._version, MAX_MANIFEST, beginning=self._beginning)

    def _artifact(self, manifest: bytes) -> Artifact | None:
        """What has that manifest; None where its document was deleted by age."""
        try:
            return artifact.load(manifest, self._document, self._kind)
        except ImageNotFound:
            return None

    def _document(self, digest: str) -> bytes:
        data = self._get(_key(digest), _BLOBS, LARGEST)
        if data is None:
            raise ImageNotFound("the document of the cache is gone", at=self.name)
        return data

    def has(self, blob: LayerBlob) -> bool:
        """See `Server`."""
        return self._has(blob.digest)

    def send(self, blob: LayerBlob, source: Source) -> None:
        """See `Server`. What another job is about to send counts as sent: if it never comes, it is made again."""
        self._put(_key(blob.digest), _BLOBS, BlobBody(blob, source))
        self._there.add(blob.digest)

    def _cache(self) -> ActionsCache:
        return ActionsCache(self._transport(), os.environ)

    def _has(self, digest: str) -> bool:
        if digest not in self._there and retrying(lambda: self._cache().find(_key(digest), _BLOBS), time.sleep):
            self._there.add(digest)
        return digest in self._there

    def _put(self, key: str, version: str, body: Body) -> bool:
        """Make an entry; False where there is one with that key, or another job is about to make it."""
        cache = self._cache()
        # Who began an entry must not begin it again to send its file again: that is a conflict with himself.
        url = self._begun.get((key, version)) or retrying(lambda: cache.create(key, version), time.sleep)
        if not url:
            return False
        self._begun[key, version] = url
        retrying(lambda: cache.send(url, body), time.sleep)
        retrying(lambda: cache.finish(key, version, body.size), time.sleep)
        return True

    def _get(self, key: str, version: str, limit: int, beginning: str = "") -> bytes | None:
        def ask() -> bytes | None:
            url = self._cache().find(key, version, beginning)
            if not url:
                return None
            response = self._transport().request("GET", url)
            if response.status == 200:
                return response.read_all(limit)
            response.close()
            kind = Broken if response.status in PASSING else ImageNotFound
            raise kind(f"the server answers {response.status}", at=self.name)

        return retrying(ask, time.sleep)


def _key(digest: str) -> str:
    return f"pybuild-{digest.removeprefix('sha256:')}"
