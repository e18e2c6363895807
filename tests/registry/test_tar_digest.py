"""The digest of the tar in a blob: how far a blob is read, whatever happens."""

from __future__ import annotations

import hashlib
import os

import pytest
import zstandard

from buildkit_py.errors import DigestMismatch, SourceError
from buildkit_py.registry.tar_digest import tar_digest

ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
PLAIN = os.urandom(1 << 20)
BLOB = zstandard.ZstdCompressor().compress(PLAIN)


class Blob:
    """A blob that is read, up to a place where something is raised."""

    def __init__(self, data: bytes, end: int = 1 << 30, problem: BaseException | None = None) -> None:
        self.data = data
        self.at = 0
        self._end = end
        self._problem = problem

    def read(self, size: int) -> bytes:
        if self.at >= self._end and self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
        piece = self.data[self.at : self.at + size]
        self.at += len(piece)
        return piece


def test_it_is_that_of_what_is_in_it() -> None:
    blob = Blob(BLOB)
    assert tar_digest(blob.read, ZSTD) == f"sha256:{hashlib.sha256(PLAIN).hexdigest()}"
    assert blob.at == len(BLOB)


def test_damaged_data_is_read_to_its_end() -> None:
    """Only who has read all of it knows that its digest is wrong."""
    blob = Blob(BLOB[: 1 << 18] + b"\xff" * (1 << 20))
    with pytest.raises(SourceError):
        tar_digest(blob.read, ZSTD)
    assert blob.at == len(blob.data)
    mismatch = DigestMismatch("the blob is another one")
    blob = Blob(BLOB[:1000] + b"\xff" * (1 << 20), (1 << 20) + 1000, mismatch)
    with pytest.raises(DigestMismatch) as caught:
        tar_digest(blob.read, ZSTD)
    assert caught.value is mismatch


def test_after_ctrl_c_nothing_more_is_read() -> None:
    blob = Blob(BLOB, 300_000, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        tar_digest(blob.read, ZSTD)
    assert blob.at < len(BLOB)
