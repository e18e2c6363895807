"""A portable cache in a directory: an OCI image layout of plain files, which a CI job saves and restores whole.

OCI image-spec `image-layout.md`. `index.json` names one artifact for each
cache in it, by `org.opencontainers.image.ref.name`. It is written last and by
rename; after that, blobs that no artifact names are deleted, so that the
directory never grows beyond what it says.
"""

from __future__ import annotations

import errno
import fcntl
import os

from buildkit_py.digest import digest_of, is_hex, is_sha256
from buildkit_py.errors import DigestMismatch, ImageNotFound, SourceError
from buildkit_py.image import strict_json
from buildkit_py.image.manifest import MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST
from buildkit_py.image.strict_json import Malformed
from buildkit_py.json_text import ascii_dump
from buildkit_py.portable import artifact
from buildkit_py.portable.artifact import ARTIFACT_TYPE, LARGEST
from buildkit_py.registry import bundle
from buildkit_py.registry.bundle import DirectoryBundle, Piece
from buildkit_py.registry.origin import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from typing import Any

    from buildkit_py.http.transport import Reader
    from buildkit_py.portable.artifact import Signed
    from buildkit_py.portable.place import Source
    from buildkit_py.store.layers import LayerBlob

REF_NAME = "org.opencontainers.image.ref.name"
MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_PIECE = 1 << 20
_BLOBS = "blobs/sha256"
_TEMPORARY = ".pybuild-"


class Directory:
    """Implements `Place`. `path` is absolute; `tag` tells several caches in one directory apart.

    `kind` is the artifact type of what is kept. `damaged` are digests of blobs that turned out to be others.
    """

    def __init__(self, path: str, tag: str, kind: str = ARTIFACT_TYPE, damaged: AbstractSet[str] = frozenset()) -> None:
        self._damaged = damaged
        self._kind = kind
        self.name = path
        self._path = path
        self._tag = tag

    def read(self) -> Signed | None:
        """See `Place`."""
        entry = next((one for one in self._index() if _tag(one) == self._tag), None)
        if entry is None:
            return None
        manifest = self._small(_digest(entry), MAX_MANIFEST)
        return artifact.load(manifest, lambda digest: self._small(digest, LARGEST), self._kind).signed()

    def origin(self, blob: LayerBlob) -> Origin:
        """See `Place`."""
        path = f"{self._path}/{_name(blob.digest)}"
        return Origin(blob.digest, blob.size, blob.media_type, piece=Piece(path, 0, blob.size))

    def lacks(self, blob: LayerBlob) -> bool:
        """See `Place`."""
        return blob.digest in self._damaged or self._size(blob.digest) != blob.size

    def write(self, signed: Signed, blobs: Sequence[LayerBlob], source: Source) -> int:
        """See `Place`."""
        try:
            os.makedirs(f"{self._path}/{_BLOBS}", exist_ok=True)
            # Two builds that write here take turns: each deletes only what neither of them names.
            lock = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return self._write(signed, blobs, source)
            finally:
                os.close(lock)
        except OSError as problem:
            raise _unwritable(problem, self._path) from problem

    def _write(self, signed: Signed, blobs: Sequence[LayerBlob], source: Source) -> int:
        try:
            index = self._index()
        except Malformed:
            index = []  # what is damaged is written anew, as a blob is
        manifest, document = artifact.make(signed, blobs, self._kind)
        digest = digest_of(manifest)
        entry = {
            "mediaType": OCI_MANIFEST,
            "artifactType": self._kind,
            "digest": digest,
            "size": len(manifest),
            "annotations": {REF_NAME: self._tag},
        }
        others = [one for one in index if _tag(one) != self._tag]
        sent = 0
        for blob in blobs:
            if self.lacks(blob):
                reader = source(blob)
                try:
                    self._put(_name(blob.digest), _pieces(reader))
                finally:
                    reader.close()
                sent += blob.size
        for data in (document, manifest):
            self._put(_name(digest_of(data)), (data,))
        self._put("oci-layout", (MARKER,))
        whole = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*others, entry]}
        self._put("index.json", (ascii_dump(whole),))
        self._sweep([*others, entry])
        return sent

    def _sweep(self, index: list[dict[str, Any]]) -> None:
        """Delete what no artifact names, and what killed writers left. Where one cannot be read, all blobs stay."""
        kept = set()
        try:
            for entry in index:
                digest = _digest(entry)
                kept |= {digest, *artifact.blobs_of(self._small(digest, MAX_MANIFEST))}
        except SourceError:
            return
        for directory in (self._path, f"{self._path}/{_BLOBS}"):
            for name in os.listdir(directory):
                unnamed = directory != self._path and is_hex(name) and "sha256:" + name not in kept
                if unnamed or name.startswith(_TEMPORARY):
                    os.unlink(f"{directory}/{name}")

    def _put(self, name: str, pieces: Iterable[bytes]) -> None:
        """A file that appears whole or not at all, readable as the umask has it: others restore it."""
        final = f"{self._path}/{name}"
        temporary = f"{os.path.dirname(final)}/{_TEMPORARY}{os.path.basename(final)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            with open(fd, "wb", buffering=0) as file:
                for piece in pieces:
                    view = memoryview(piece)
                    while view:
                        view = view[file.write(view) :]
            os.rename(temporary, final)
        except BaseException:
            os.unlink(temporary)
            raise

    def _size(self, digest: str) -> int:
        piece = DirectoryBundle(self._path).locate(_name(digest))
        return piece.size if piece is not None else -1

    def _small(self, digest: str, limit: int) -> bytes:
        data = bundle.read_file(DirectoryBundle(self._path), _name(digest), limit)
        if digest_of(data) != digest:
            raise DigestMismatch(f"the blob {digest} of the cache is damaged", at=self._path)
        return data

    def _index(self) -> list[dict[str, Any]]:
        """The entries of `index.json`; none where there is no cache yet. Raises `SourceError`."""
        try:
            data = bundle.read_file(DirectoryBundle(self._path), "index.json", MAX_MANIFEST)
        except ImageNotFound:
            return []
        value = strict_json.parse_object(data, limit=MAX_MANIFEST, what="file `index.json`")
        return strict_json.objects(value, "manifests", "file `index.json`")


def _tag(entry: dict[str, Any]) -> str:
    return dict(strict_json.text_pairs(entry, "annotations", "file `index.json`")).get(REF_NAME, "")


def _digest(entry: dict[str, Any]) -> str:
    digest = strict_json.text(entry, "digest", "file `index.json`")
    if not is_sha256(digest):
        raise Malformed("`index.json` names something that is no digest")
    return digest


def _name(digest: str) -> str:
    return f"{_BLOBS}/{digest.removeprefix('sha256:')}"


def _pieces(reader: Reader) -> Iterator[bytes]:
    while piece := reader.read(_PIECE):
        yield piece


def _unwritable(problem: OSError, path: str) -> SourceError:
    hint = "free some space, or write the cache elsewhere" if problem.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return SourceError(f"the cache cannot be written: {problem.strerror or problem}", at=path, hint=hint)
