"""Base images that are broken, at a real registry: which one, which layer, what is wrong, where it is asked for."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.base_image import HERE, layer_layout
from tests.behaviour.world import World
from tests.image.tars import member, tar
from tests.needs import need
from tests.registry_server import registry_server

SOURCE = 4
GOOD = tar(member(b"f", data=os.urandom(1 << 20)))
OTHER = tar(member(b"g", data=b"other"))
UP = tar(member(b"../../etc/f", data=b"evil"))
BROKEN = {
    "truncated": (gzip.compress(GOOD)[:-9], GOOD, "truncated gzip data"),
    "no archive": (gzip.compress(b"no archive" * 99), b"no archive" * 99, "the archive is damaged"),
    "a path that leads up": (gzip.compress(UP), UP, "the archive has a path that leads up: ../../etc/f"),
    "another diff_id": (
        gzip.compress(OTHER),
        GOOD,
        f"the layer's content is sha256:{hashlib.sha256(OTHER).hexdigest()}",
    ),
}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    need("docker-registry", "skopeo")
    with registry_server(tmp_path / "registry") as address:
        yield address


def push(layout: Path, name: str) -> None:
    """Put an image there as it is, broken or not."""
    arguments = ["copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{name}"]
    subprocess.run(["skopeo", "--insecure-policy", *arguments], check=True, timeout=60)


@pytest.mark.parametrize("kind", BROKEN)
def test_the_image_and_the_layer_are_named_where_the_image_is(
    world: World, registry: str, tmp_path: Path, kind: str
) -> None:
    data, plain, wrong = BROKEN[kind]
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    layer_layout(tmp_path / "layout", data, "tar+gzip", plain)
    push(tmp_path / "layout", f"{registry}/team/base:1")
    world.write({"f": "", "Dockerfile": f"# x\nFROM {registry}/team/base:1\nCOPY --chown=x f /d/\n"})
    done = world.build(ok=False)
    assert done.returncode == SOURCE
    message = done.stderr[done.stderr.index("error: ") :]
    begin = f"error: Dockerfile:2:1: `{registry}/team/base:1`: the layer {digest} cannot be unpacked: {wrong}"
    assert message.startswith(begin), message
    assert f"\n  FROM {registry}/team/base:1\n" in message
    assert f"\nnote: at {registry}/team/base\nnote: its files are wanted at Dockerfile:" in message
    assert message.endswith("\nhint: have the image made anew, or take another one: it came as it was made\n")


def test_bytes_that_were_damaged_at_the_registry_are_no_fault_of_the_image(
    world: World, registry: str, tmp_path: Path
) -> None:
    data = gzip.compress(GOOD)
    layer_layout(tmp_path / "layout", data, "tar+gzip", GOOD)
    push(tmp_path / "layout", f"{registry}/base:1")
    name = hashlib.sha256(data).hexdigest()
    blob = tmp_path / f"registry/data/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"
    blob.write_bytes(data[:1000] + bytes(50) + data[1050:])
    world.write({"f": "", "Dockerfile": f"FROM {registry}/base:1\nCOPY --chown=x f /d/\n"})
    done = world.build(ok=False)
    assert done.returncode == SOURCE
    message = done.stderr[done.stderr.index("error: ") :]
    assert message.startswith(f"error: Dockerfile:1:1: `{registry}/base:1`: the bytes received are not sha256:{name}\n")
    assert "made anew" not in message


def test_a_blob_that_was_damaged_here_is_fetched_anew(world: World, registry: str, tmp_path: Path) -> None:
    """That it is damaged shows when it is unpacked, before its digest is known."""
    data = gzip.compress(GOOD)
    layer_layout(tmp_path / "layout", data, "tar+gzip", GOOD)
    push(tmp_path / "layout", f"{registry}/base:1")
    world.run("pull", f"{registry}/base:1")
    blob = world.store / "blobs/sha256" / hashlib.sha256(data).hexdigest()
    blob.write_bytes(data[:1000] + bytes(50) + data[1050:])
    world.write({"f": "", "Dockerfile": f"FROM {registry}/base:1\nCOPY f /d/\n"})
    done = world.run("build", "-o", "out", ".", ok=False)
    assert f"the blob sha256:{blob.name} is damaged" in done.stderr
    assert "it was set aside" in done.stderr
    world.run("build", "-o", "out", ".")
    assert hashlib.sha256((world.project / "out/f").read_bytes()).digest() == hashlib.sha256(GOOD[512:-1024]).digest()


def test_an_image_that_does_not_say_its_architecture_is_for_this_machine(world: World, tmp_path: Path) -> None:
    """As BuildKit has it: what was built of it had no name, and nobody could tell why."""
    layout = world.project / "layout"
    layer_layout(layout, gzip.compress(GOOD), "tar+gzip", GOOD, None)
    world.write({"f": "", "Dockerfile": "FROM base\nCOPY f /d/\n"})
    world.build("-t", "made", f"--build-context=base=oci-layout://{layout}")
    assert f"linux/{HERE}" in world.run("images").stdout
    world.write({"Dockerfile": "FROM made\nCOPY f /e/\n"})
    world.build()
