"""The artifact of a cache: its document whole, or as a patch of an older one that is there already."""

from __future__ import annotations

import json
from random import Random

import pytest

from buildkit_py.digest import digest_of
from buildkit_py.errors import DigestMismatch, SourceError
from buildkit_py.image.strict_json import Malformed
from buildkit_py.portable import artifact
from buildkit_py.portable.artifact import ARTIFACT_TYPE, MOUNTS_TYPE, PATCH, Artifact, Signed
from buildkit_py.store.layers import LayerBlob

BLOB = LayerBlob("sha256:" + "a" * 64, "sha256:" + "b" * 64, 99, "application/vnd.oci.image.layer.v1.tar+zstd")


def text(lines: int, seed: int = 1) -> bytes:
    random = Random(seed)
    return "\n".join(f"a step of which this is the key: {random.randbytes(32).hex()}" for _ in range(lines)).encode()


class Shelf:
    """Keeps what is written, as a place does."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.found: Artifact | None = None

    def write(self, data: bytes, signature: str = "", kind: str = ARTIFACT_TYPE) -> int:
        """Bytes of the document that had to be sent beside the manifest."""
        manifest, document = artifact.make(Signed(data, signature), [BLOB], kind, self.found)
        if document:
            self.blobs[digest_of(document)] = document
        self.found = artifact.load(manifest, self.blobs.__getitem__, kind)
        assert self.found.manifest == manifest
        assert self.found.signed() == Signed(data, signature)
        # Whoever deletes what no manifest names deletes nothing of it.
        named = artifact.blobs_of(manifest)
        assert named == {self.found.base.digest, BLOB.digest}
        assert named <= {*self.blobs, BLOB.digest}
        return len(document)


def test_what_is_nearly_the_same_is_a_patch_of_what_is_there() -> None:
    shelf = Shelf()
    first = text(100)
    assert shelf.write(first)
    whole = shelf.found
    assert whole is not None
    for number in range(1, 20):
        assert shelf.write(first + text(3, seed=number + 1)) == 0
        assert shelf.found.base == whole.base
        assert len(shelf.found.manifest) - len(whole.manifest) < 400
    assert shelf.write(first) == 0
    assert shelf.found.manifest == whole.manifest


def test_what_is_another_is_written_whole_and_patched_from_then_on() -> None:
    shelf = Shelf()
    shelf.write(text(100))
    other = text(100, seed=2)
    assert shelf.write(other)
    assert shelf.write(other + b"\n1") == 0


def test_a_document_of_another_format_is_no_base() -> None:
    """Who reads the older format alone knows of no patches, and would take the base for all that there is."""
    shelf = Shelf()
    shelf.write(b'{"complete":true,"format":"pybuild-cache-1",' + text(100))
    assert shelf.write(b'{"complete":true,"format":"pybuild-cache-9",' + text(100))
    assert shelf.write(b'{"complete":false,"format":"pybuild-cache-9",' + text(100)) == 0


def test_no_patch_is_too_long_for_a_manifest() -> None:
    shelf = Shelf()
    first = text(10_000)
    shelf.write(first)
    assert shelf.write(first + text(3000, seed=2))


def test_signatures_go_with_a_patch() -> None:
    shelf = Shelf()
    shelf.write(text(100), "one")
    assert shelf.write(text(101), "two") == 0


def test_cache_mounts_are_written_whole() -> None:
    shelf = Shelf()
    shelf.write(text(100), kind=MOUNTS_TYPE)
    assert shelf.write(text(101), kind=MOUNTS_TYPE)


@pytest.mark.parametrize("patch", ["no base64", "AAAA", 7])
def test_a_patch_that_is_none_is_refused(patch: object) -> None:
    shelf = Shelf()
    shelf.write(text(100))
    assert shelf.found is not None
    value = json.loads(shelf.found.manifest)
    value["annotations"] = {PATCH: patch}
    with pytest.raises(Malformed):
        artifact.load(json.dumps(value).encode(), shelf.blobs.__getitem__).signed()


def test_a_patch_of_a_text_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "LARGEST", 1 << 20)
    shelf = Shelf()
    shelf.write(text(100))
    manifest, document = artifact.make(Signed(text(100) + bytes(8 << 20)), [], ARTIFACT_TYPE, shelf.found)
    assert not document
    with pytest.raises(Malformed, match="longer than 1 MiB"):
        artifact.load(manifest, shelf.blobs.__getitem__).signed()


def test_another_document_than_the_manifest_names_is_refused() -> None:
    shelf = Shelf()
    shelf.write(text(100))
    assert shelf.found is not None
    [document] = shelf.blobs.values()
    with pytest.raises(DigestMismatch):
        artifact.load(shelf.found.manifest, lambda _: document[:-1] + b"x")


def test_more_layers_than_a_manifest_can_name_are_refused() -> None:
    with pytest.raises(SourceError, match="does not fit into one manifest"):
        artifact.make(Signed(b"{}"), [BLOB] * (artifact.MOST_LAYERS + 1), ARTIFACT_TYPE)
