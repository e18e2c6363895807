"""Compression of layers: round trips, sameness, damage and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import resource
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.errors import SourceError
from buildkit_py.image.compress import Counted, compressor, decompress, kind_of, kind_of_bytes, zstd_patch

DATA = random.Random(5).randbytes(1_500_000) + b"the same line again\n" * 200_000


def compressed(kind: str, data: bytes = DATA, cut: int = 1 << 20, level: int = 0) -> bytes:
    stream = compressor(kind, level)
    return b"".join([stream.compress(data[at : at + cut]) for at in range(0, len(data), cut)]) + stream.flush()


def plain(blob: bytes, kind: str) -> bytes:
    return b"".join(decompress(io.BytesIO(blob).read, kind))


@pytest.mark.parametrize("kind", ["zstd", "gzip", "none"])
@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "one", "large"])
def test_what_goes_in_comes_out(kind: str, data: bytes) -> None:
    assert plain(compressed(kind, data), kind) == data


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_the_bytes_do_not_depend_on_how_the_input_was_cut(kind: str) -> None:
    assert compressed(kind, cut=1 << 20) == compressed(kind, cut=77_777)


@pytest.mark.parametrize("level", [1, 3])  # the faster ones leave a processor to those who hash
def test_the_bytes_do_not_depend_on_the_number_of_processors(level: int) -> None:
    program = (
        "import os, sys, hashlib; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n"
        "from tests.image.test_compress import compressed\n"
        f"print(hashlib.sha256(compressed('zstd', level={level})).hexdigest())"
    )
    one = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.strip()
    import hashlib

    assert hashlib.sha256(compressed("zstd", level=level)).hexdigest() == one


def test_levels_make_a_difference_and_gzip_has_no_time() -> None:
    assert len(compressed("zstd", level=19)) < len(compressed("zstd", level=1))
    assert compressed("gzip")[4:8] == bytes(4)


@pytest.mark.parametrize(
    ("kind", "blob"),
    [
        ("gzip", gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0)),
        ("gzip", gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0) + bytes(700)),
        ("bzip2", bz2.compress(b"one") + bz2.compress(b"two")),
        ("xz", lzma.compress(b"one") + bytes(8) + lzma.compress(b"two")),
        ("zstd", compressed("zstd", b"one") + b"\x50\x2a\x4d\x18\x02\0\0\0xx" + compressed("zstd", b"two")),
    ],
)
def test_members_one_after_the_other_are_one_stream(kind: str, blob: bytes) -> None:
    assert kind_of_bytes(blob) == kind
    assert plain(blob, kind) == b"onetwo"


@pytest.mark.parametrize(
    ("kind", "blob"),
    [("gzip", gzip.compress(DATA, mtime=0)), ("bzip2", bz2.compress(DATA)), ("xz", lzma.compress(DATA))],
)
def test_truncated_damaged_and_trailing_bytes_are_errors(kind: str, blob: bytes) -> None:
    for bad, words in (
        (blob[:-1], "truncated"),
        (blob[: len(blob) // 2], "truncated"),
        (blob[:5000] + bytes(64) + blob[5064:], f"damaged {kind}|truncated"),
        (blob + b"garbage", f"damaged {kind}|truncated"),
    ):
        with pytest.raises(SourceError, match=words):
            plain(bad, kind)


def test_damaged_zstd_is_an_error() -> None:
    blob = compressed("zstd")
    with pytest.raises(SourceError, match="damaged zstd"):
        plain(blob[:6] + b"\xff" * 64 + blob[70:], "zstd")
    with pytest.raises(SourceError, match="damaged zstd"):
        plain(b"no zstd at all, by no means", "zstd")


def test_a_zstd_frame_that_wants_a_huge_window_is_refused() -> None:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(SourceError, match="damaged zstd"):
        plain(stream.compress(DATA) + stream.flush(), "zstd")


@pytest.mark.parametrize("kind", ["zstd", "gzip", "bzip2", "xz"])
def test_a_bomb_comes_in_small_pieces(kind: str) -> None:
    zeros = bytes(64 << 20)
    blob = {
        "zstd": lambda: compressed("zstd", zeros),
        "gzip": lambda: gzip.compress(zeros),
        "bzip2": lambda: bz2.compress(zeros),
        "xz": lambda: lzma.compress(zeros),
    }[kind]()
    assert len(blob) < len(zeros) // 500
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = 0
    for piece in decompress(io.BytesIO(blob).read, kind):
        assert len(piece) <= 1 << 20
        total += len(piece)
    assert total == len(zeros)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


def test_the_media_type_decides_and_else_the_first_bytes() -> None:
    assert kind_of("application/vnd.oci.image.layer.v1.tar+zstd", b"\x1f\x8b") == "zstd"
    assert kind_of("application/vnd.docker.image.rootfs.diff.tar.gzip") == "gzip"
    assert kind_of("application/vnd.oci.image.layer.v1.tar+gzip; x=y") == "gzip"
    assert kind_of("application/vnd.oci.image.layer.v1.tar", b"\x1f\x8b") == "none"
    assert kind_of("application/octet-stream", b"\x1f\x8b\x08") == "gzip"
    # What a docker pushes that found its layer in another compression.
    assert kind_of("application/vnd.docker.image.rootfs.diff.tar.gzip", b"\x28\xb5\x2f\xfd\x04\x00") == "zstd"
    assert kind_of("application/vnd.docker.image.rootfs.diff.tar.gzip", b"bin/\0\0") == "none"
    assert kind_of_bytes(b"") == "none"


def test_counted_gives_again_what_was_peeked() -> None:
    source = Counted(io.BytesIO(b"0123456789").read)
    assert source.peek(4)[:4] == b"0123"
    assert source.count == 0
    assert source.read(3) + source.read(100) + source.read(1) == b"0123456789"
    assert source.count == 10


@settings(deadline=None)
@given(
    st.binary(max_size=3000) | st.tuples(st.binary(max_size=40), st.integers(0, 5000)).map(lambda two: two[0] * two[1]),
    st.sampled_from([1, 3, 7, 19, -5]),
)
def test_what_is_known_to_be_small_comes_to_the_same_bytes(data: bytes, level: int) -> None:
    data = data[: (1 << 17) - 1]
    alone = compressor("zstd", level, size=len(data))
    assert alone.compress(data) + alone.flush() == compressed("zstd", data, level=level)


@pytest.mark.parametrize("size", [(1 << 17) - 1, 1 << 17, (1 << 17) + 1, 1 << 20])
def test_the_border_of_small_makes_no_difference(size: int) -> None:
    for data in (DATA[:size], DATA[-size:]):
        alone = compressor("zstd", size=size)
        assert alone.compress(data) + alone.flush() == compressed("zstd", data)


@settings(max_examples=50)
@given(st.binary(max_size=5000), st.binary(max_size=300), st.integers(0, 5000))
def test_a_patch_makes_one_text_of_another(base: bytes, inserted: bytes, at: int) -> None:
    data = base[:at] + inserted + base[at:]
    assert b"".join(decompress(io.BytesIO(zstd_patch(data, base)).read, "zstd", base)) == data


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_a_patch_is_as_long_as_what_is_new(size: int) -> None:
    base = DATA[:size]
    data = base[: size // 2] + b"something new" + base[size // 2 :]
    patch = zstd_patch(data, base)
    assert len(patch) < 200
    assert b"".join(decompress(io.BytesIO(patch).read, "zstd", base)) == data
