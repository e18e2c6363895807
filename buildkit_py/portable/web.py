"""A portable cache on a server that takes GET, HEAD and PUT: nginx with DAV, or a bucket of S3.

    URL/NAME                      the artifact's manifest, written last
    URL/blobs/sha256/HEX          document and layers

What no manifest names any more is the server's to delete: it says by their
age which blobs nobody asks for.
"""

from __future__ import annotations

import os
import time

from buildkit_py.digest import digest_of
from buildkit_py.errors import ImageNotFound, SourceError
from buildkit_py.http import bucket
from buildkit_py.http.address import shown_url
from buildkit_py.http.retry import PASSING, retry_after, retrying
from buildkit_py.http.transport import Broken, Transport
from buildkit_py.http.words import explanation
from buildkit_py.image.manifest import MAX_MANIFEST
from buildkit_py.portable import artifact
from buildkit_py.portable.artifact import ARTIFACT_TYPE, LARGEST
from buildkit_py.portable.bodies import BlobBody, BytesBody, send_missing
from buildkit_py.registry.client import cache_authorization
from buildkit_py.registry.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from buildkit_py.http.bucket import Method
    from buildkit_py.http.transport import Body, Response
    from buildkit_py.portable.artifact import Signed
    from buildkit_py.portable.place import Source
    from buildkit_py.store.layers import LayerBlob

_DONE = (200, 201, 204)
# What S3 says where the bucket itself is not there.
_NO_BUCKET = " (NoSuchBucket"


class Web:
    """Implements `Server`. `url` has no `/` at its end, or is that of a bucket (`bucket.base`).

    `tag` tells several caches below it apart. `damaged` are digests of blobs that turned out to be others.
    """

    def __init__(
        self,
        transport: Callable[[], Transport],
        url: str,
        tag: str,
        kind: str = ARTIFACT_TYPE,
        damaged: AbstractSet[str] = frozenset(),
    ) -> None:
        self.name = shown_url(url)
        self._transport = transport
        self._url = url
        self._tag = tag
        self._kind = kind
        self._there: set[str] = set()  # blobs, by digest
        self._damaged = damaged
        self._sent: set[str] = set()

    def read(self) -> Signed | None:
        """See `Place`."""
        try:
            manifest = self._get(bucket.below(self._url, self._tag), MAX_MANIFEST)
        except ImageNotFound:
            return None
        return artifact.load(manifest, lambda digest: self._get(self._place(digest), LARGEST), self._kind).signed()

    def origin(self, blob: LayerBlob) -> Origin:
        """See `Place`."""
        return Origin(blob.digest, blob.size, blob.media_type, url=self._place(blob.digest))

    def lacks(self, blob: LayerBlob) -> bool:
        """See `Place`."""
        return not self.has(blob)

    def write(self, signed: Signed, blobs: Sequence[LayerBlob], source: Source) -> int:
        """See `Place`."""
        # No patch of the document before: here blobs are deleted by age, and all would hang on the oldest of them.
        manifest, document = artifact.make(signed, blobs, self._kind)
        sent = send_missing(self, blobs, source)
        digest = digest_of(document)
        if not self._has(digest, len(document)):
            self._put(self._place(digest), BytesBody(document))
            sent += len(document)
        self._put(bucket.below(self._url, self._tag), BytesBody(manifest))
        return sent

    def has(self, blob: LayerBlob) -> bool:
        """See `Server`."""
        if blob.digest in self._damaged:
            return blob.digest in self._sent
        return self._has(blob.digest, blob.size)

    def send(self, blob: LayerBlob, source: Source) -> None:
        """See `Server`."""
        self._put(self._place(blob.digest), BlobBody(blob, source))
        self._there.add(blob.digest)
        self._sent.add(blob.digest)

    def _place(self, digest: str) -> str:
        return bucket.below(self._url, f"blobs/sha256/{digest.removeprefix('sha256:')}")

    def _get(self, url: str, limit: int) -> bytes:
        def ask() -> bytes:
            response = self._ask("GET", url)
            if response.status == 200:
                return response.read_all(limit)
            raise _failure(response, url)

        return retrying(ask, time.sleep)

    def _has(self, digest: str, size: int) -> bool:
        if digest in self._there:
            return True
        url = self._place(digest)

        def ask() -> bool:
            response = self._ask("HEAD", url)
            # A bucket that one may not list does not say what it lacks.
            if response.status not in (200, 404, *((403,) if url.startswith(bucket.SCHEME) else ())):
                raise _failure(response, url)
            response.close()
            return response.status == 200 and response.header("Content-Length") in ("", str(size))

        if retrying(ask, time.sleep):
            self._there.add(digest)
        return digest in self._there

    def _put(self, url: str, body: Body) -> None:
        def send() -> None:
            response = self._ask("PUT", url, body)
            if response.status not in _DONE:
                raise _failure(response, url)
            response.drain()

        retrying(send, time.sleep)

    def _ask(self, method: Method, url: str, body: Body | None = None) -> Response:
        headers = cache_authorization(url, os.environ)
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
        transport = self._transport()
        transport.admit(url)
        return transport.request(method, bucket.signed(method, url), headers=headers, body=body)


def _failure(response: Response, url: str) -> SourceError:
    """The error for an answer that is not the wanted one; reads and closes it."""
    status, words = response.status, explanation(response)
    text = f"the server answers {status}{words}"
    if status in PASSING:
        problem = Broken(text, at=shown_url(url))
        problem.retry_after = retry_after(response.header("Retry-After"))
        return problem
    in_bucket = url.startswith(bucket.SCHEME)
    if status == 404 and not (in_bucket and words.startswith(_NO_BUCKET)):
        return ImageNotFound(f"it is not there{words}", at=shown_url(url))
    hint = ""
    if in_bucket:
        hint = "check the bucket, its region and endpoint, and what AWS_ACCESS_KEY_ID may do"
    elif status in (401, 403):
        hint = "PYBUILD_CACHE_TOKEN is sent as a bearer, else user and password of the URL"
    return SourceError(text, at=shown_url(url), hint=hint)
