"""Archives that lie, through ADD and as layers of base images: an error with its place, or files inside; never more.

The numbers are those of image/test_unpack, which tries each trick by itself. Here whole builds meet them, as root and
as an ordinary user, and what was taken is written to a directory, too.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import zstandard

from tests.behaviour.base_image import layer_layout
from tests.behaviour.world import World
from tests.image.tars import BLOCK, CHARACTER, DIRECTORY, LINK, SYMBOLIC, member, path_record, tar

SOURCE = 4
XATTR = b"SCHILY.xattr."
# Random, so that packed it is long enough for its first header to be read where its end is damaged.
GOOD = tar(member(b"d/", DIRECTORY), member(b"d/f", data=os.urandom(3 << 20)))


class Trick(NamedTuple):
    """An archive, and what the message says if ADD and a base image refuse it; "" where it is taken, inside."""

    data: bytes
    add: str
    base: str


def evil(name: bytes) -> bytes:
    return member(name, data=b"evil")


def tricks(canary: bytes) -> dict[str, Trick]:
    """By number of the attack. `canary` is a directory outside, with the file `secret`."""
    up = b"../" * 30 + canary[1:]
    secret = canary + b"/secret"
    first = evil(b"a")  # ADD knows an archive by its first header
    odd = tar(member(b"x", time=b"\xff" * 12), member(b"\xff\n\x1b[2J"), member(b"y", time=b"\x80" + b"\x7f" * 11))
    forged = [
        (XATTR + kind + b".overlay." + name, value)
        for kind in (b"trusted", b"user")
        for name, value in ((b"opaque", b"y"), (b"redirect", b"/etc"), (b"metacopy", b""))
    ]
    return {
        "T1 absolute": Trick(tar(evil(secret), evil(b"//abs")), "", ""),
        "T2 up": Trick(tar(evil(up + b"/secret")), "", "leads up"),
        "T2 up from within": Trick(tar(evil(b"a/../../x")), "", "leads up"),
        "T3 through an absolute link": Trick(tar(member(b"l", SYMBOLIC, link=canary), evil(b"l/secret")), "", ""),
        "T4 through a relative link": Trick(tar(member(b"l", SYMBOLIC, link=up), evil(b"l/secret")), "", ""),
        "T4 through /proc": Trick(tar(member(b"l", SYMBOLIC, link=b"/proc/self/root"), evil(b"l/x")), "", ""),
        "T5 hard link up": Trick(tar(first, member(b"h", LINK, link=up + b"/secret")), "hard link", "leads up"),
        "T5 hard link": Trick(tar(first, member(b"h", LINK, link=secret)), "hard link", "hard link|no directory"),
        "T5 hard link through a link": Trick(
            tar(member(b"l", SYMBOLIC, link=canary), member(b"h", LINK, link=b"l/secret")),
            "hard link",
            "hard link|no directory",
        ),
        "T6 hard link to a link": Trick(
            tar(member(b"l", SYMBOLIC, link=secret), member(b"h", LINK, link=b"l"), evil(b"h")), "", ""
        ),
        "T7 whiteout as a device": Trick(tar(first, member(b"x", CHARACTER)), "0:0", "0:0"),
        "T7 device of a number too large": Trick(tar(first, member(b"x", BLOCK, device=(4096, 0))), "4096:0", "4096:0"),
        "T9 file, link, file": Trick(tar(evil(b"x"), member(b"x", SYMBOLIC, link=secret), evil(b"x")), "", ""),
        "T10 directory, then link": Trick(
            tar(member(b"d/", DIRECTORY), member(b"d", SYMBOLIC, link=canary), evil(b"d/secret")), "", ""
        ),
        "T11 odd names and times": Trick(odd, "", ""),
        "T11 long path": Trick(
            tar(first, member(b"x", records=path_record(b"/".join([b"n" * 99] * 42)))), "4095", "4095"
        ),
        "T11 long name": Trick(tar(first, member(b"x", records=path_record(b"n" * 256))), "255", "255"),
        "T11 long header": Trick(
            tar(first, member(b"x", records=[(b"comment", b"c" * (1 << 20))])), "header", "header"
        ),
        "T11 sparse": Trick(tar(first, member(b"x", b"S", size=b"\x80" + b"\x7f" * 11)), "sparse", "sparse"),
        "T11 a size without end": Trick(tar(first, member(b"x", size=b"\x80" + b"\x7f" * 11)), "claims", "claims"),
        "T11 a negative size": Trick(tar(first, member(b"x", size=b"\xff" * 12)), "negative", "negative"),
        "T11 an owner that is none": Trick(
            tar(first, member(b"x", records=[(b"uid", b"4294967295")])), "owner", "owner"
        ),
        "T12 forged xattrs": Trick(tar(member(b"d/", DIRECTORY, records=forged), member(b"f", records=forged)), "", ""),
        "T13 whiteout": Trick(tar(member(b".wh.passwd")), "`.wh.`", ""),
        "T13 whiteout of the parent": Trick(tar(member(b"a/.wh...")), "`.wh.`", "whiteout"),
        "T13 whiteout of itself": Trick(tar(member(b"a/.wh..")), "`.wh.`", "whiteout"),
        "T13 whiteout of everything": Trick(tar(member(b".wh..wh..opq")), "`.wh.`", "root"),
        "T14 truncated": Trick(tar(first, member(b"x", data=b"y" * 9000))[:5000], "truncated", "truncated"),
        "T15 a claim of 512 GiB": Trick(
            member(b"x", size=b"\x80" + (1 << 39).to_bytes(11, "big")) + bytes(4096), "truncated", "truncated"
        ),
    }


def damaged() -> dict[str, Trick]:
    """Compressed archives that are not whole, or ask for too much."""
    window = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    stream = zstandard.ZstdCompressor(compression_params=window).compressobj()
    wide = stream.compress(GOOD) + stream.flush()
    gz, zst, xz, bz = gzip.compress(GOOD, mtime=0), zstandard.compress(GOOD), lzma.compress(GOOD), bz2.compress(GOOD)
    return {
        "T14 truncated gzip": Trick(gz[:-9], "truncated gzip", "truncated gzip"),
        "T14 gzip without its check sum": Trick(gz[:-8], "truncated gzip", "truncated gzip"),
        "T14 gzip with another check sum": Trick(gz[:-8] + bytes(4) + gz[-4:], "damaged gzip", "damaged gzip"),
        "T14 gzip with garbage behind": Trick(gz + b"garbage", "", "damaged gzip"),
        "T14 truncated zstd": Trick(zst[: len(zst) // 2], "truncated", "truncated"),
        "T14 truncated xz": Trick(xz[:-9], "truncated xz", ""),
        "T14 xz with a flipped bit": Trick(xz[:-9] + bytes([xz[-9] ^ 1]) + xz[-8:], "damaged xz", ""),
        "T14 truncated bzip2": Trick(bz[:-9], "truncated bzip2", ""),
        # ADD takes what it cannot read for no archive, and copies it.
        "T14 a zstd window of 1 GiB": Trick(wide, "", "damaged zstd"),
    }


class Attacked:
    """A world with a canary beside project and store; after each build, what that may not have touched is looked at."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.canary = world.top / "canary"
        self.canary.mkdir(mode=0o700)
        (self.canary / "secret").write_text("canary")
        # Nothing but pybuild itself is to keep the user from it.
        owner = world.project.stat()
        for path in (self.canary / "secret", self.canary):
            os.chown(path, owner.st_uid, owner.st_gid)
        world.write({"Dockerfile": "FROM scratch\nCOPY file /\n", "file": "content\n"})
        world.out()
        self.outside = self.look()
        self.layers = self.unpacked()

    def look(self) -> object:
        """All that lies around: names, and what the canary is."""
        secret = self.canary / "secret"
        status = secret.lstat()
        canary = (os.listdir(self.canary), status.st_ino, status.st_mtime_ns, status.st_nlink, secret.read_text())
        return canary, sorted(os.listdir(self.world.top)), sorted(os.listdir("/")), sorted(os.listdir("/etc"))

    def unpacked(self) -> list[str]:
        """Layers of the store that have files, and names of images."""
        return sorted(str(path) for pattern in ("layers/*/diff", "images/*") for path in self.world.store.glob(pattern))

    def build(self, says: str, *argv: str) -> None:
        """Build; with `says` it has to fail with these words (a pattern), and leave nothing, else to succeed."""
        out = self.world.project / "out"
        shutil.rmtree(out, ignore_errors=True)
        done = self.world.build("-o", "out", "-t", "evil", *argv, ok=not says)
        assert self.look() == self.outside
        assert not any(list(path.iterdir()) for path in (self.world.store / "work").iterdir())
        if not says:
            files = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
            assert not any(b"canary" in path.read_bytes() for path in files)
            self.layers = self.unpacked()
            return
        assert done.returncode == SOURCE, done.stderr
        assert re.search(rf"error: Dockerfile:[12]:\d+: .*({says})", done.stderr), done.stderr
        assert re.search(r"\n  (ADD evil\.tar|COPY file|FROM evil)", done.stderr), done.stderr
        assert not out.exists() or not list(out.iterdir())
        assert self.unpacked() == self.layers

    def add(self, data: bytes, says: str) -> None:
        self.world.write({"Dockerfile": "FROM scratch\nADD evil.tar /n/\n", "evil.tar": data})
        self.build(says)

    def base(self, data: bytes, says: str, kind: str = "tar", plain: bytes | None = None) -> None:
        layout = self.world.project / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        layer_layout(layout, data, kind, plain)
        self.world.write({"Dockerfile": "FROM evil\nCOPY file /n/\n"})
        self.build(says, f"--build-context=evil=oci-layout://{layout}")


@pytest.fixture
def attacked(world: World) -> Attacked:
    return Attacked(world)


@pytest.mark.attack("T1", "T2", "T3", "T4", "T5", "T6", "T7", "T9", "T10", "T11", "T12", "T13", "T14")
def test_tricks_through_add(attacked: Attacked) -> None:
    for name, trick in tricks(os.fsencode(attacked.canary)).items():
        with named(name):
            attacked.add(trick.data, trick.add)
    for name, trick in damaged().items():
        with named(name):
            attacked.add(trick.data, trick.add)
    attacked.add(GOOD, "")
    attacked.world.run("cache", "verify")


@pytest.mark.attack("T1", "T2", "T3", "T4", "T5", "T6", "T7", "T9", "T10", "T11", "T12", "T13", "T14")
def test_tricks_through_a_base_image(attacked: Attacked) -> None:
    for name, trick in tricks(os.fsencode(attacked.canary)).items():
        with named(name):
            attacked.base(trick.data, trick.base)
    for name, trick in damaged().items():
        if trick.base:  # the image specification has no xz and no bzip2
            with named(name):
                attacked.base(trick.data, trick.base, "tar+gzip" if "gzip" in name else "tar+zstd", GOOD)
    # All of these claimed to be this layer, which is still to be had of an honest image.
    attacked.base(GOOD, "")
    attacked.world.run("cache", "verify")


@pytest.mark.attack("R2", "H9")
def test_a_blob_that_was_passed_on_is_not_another_images_layer(attacked: Attacked) -> None:
    """An image claims the diff_id of another one's layer, and nothing unpacks it: it is no less refused."""
    world = attacked.world
    world.write({"Dockerfile": "FROM base\nLABEL a=b\n"})
    for name, data in {"bad": gzip.compress(tar(evil(b"x"))), "good": gzip.compress(GOOD, mtime=0)}.items():
        layout = world.project / name
        layer_layout(layout, data, "tar+gzip", GOOD)
        build = ("build", f"--build-context=base=oci-layout://{layout}", "-o", f"type=oci,dest={name}.oci", ".")
        if name == "bad":
            for _ in range(2):
                done = world.run(*build, ok=False)
                assert done.returncode == 4
                assert "the layer's content is" in done.stderr
                assert str(layout) in done.stderr
            assert not (world.project / "bad.oci").exists()
            continue
        world.run(*build)
        with tarfile.open(world.project / f"{name}.oci") as archive:
            assert f"blobs/sha256/{hashlib.sha256(data).hexdigest()}" in archive.getnames(), name


@contextmanager
def named(name: str) -> Iterator[None]:
    """A failure says which trick it was."""
    try:
        yield
    except AssertionError as wrong:
        raise AssertionError(name) from wrong
