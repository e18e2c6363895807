"""What pybuild writes, docker, podman, skopeo and umoci read; what docker and buildah write, pybuild reads."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.needs import need
from tests.peers.daemon import Docker
from tests.peers.engines import POLICY, Engines
from tests.registry_server import registry_server

pytestmark = [
    pytest.mark.peers,
    pytest.mark.privileged,
    pytest.mark.xdist_group("docker"),
    pytest.mark.skipif(os.geteuid() != 0, reason="engines with storage of their own need root"),
]

BUILDFILE = """\
FROM busybox
ENV WORD=hello
COPY --chown=77:50 --chmod=750 a /data/a
RUN mkdir /d && echo $WORD > /d/f && ln /d/f /d/g && ln -s f /d/l && mkdir -m 1777 /d/t && rm /bin/yes
USER app
WORKDIR /w
LABEL made.by=pybuild
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["cat /d/l; id -u; pwd; cat /data/a; ls /bin/yes 2>&1 | wc -l"]
"""
SAYS = "hello\n77\n/w\na\n1\n"
COMPRESSIONS = ("zstd", "gzip", "uncompressed")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory in memory: storage of engines is many small files."""
    directory = Path(tempfile.mkdtemp(prefix="pybuild-peers-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def engines(place: Path) -> Iterator[Engines]:
    need("skopeo", "podman", "buildah", "umoci", "runc")
    made = Engines(place)
    yield made
    made.podman("system", "prune", "--all", "--force")


@pytest.fixture(scope="module")
def registry(place: Path) -> Iterator[str]:
    need("docker-registry")
    with registry_server(place / "registry") as address:
        yield address


@pytest.fixture
def built(world: World, base_layout: Path) -> World:
    """A world whose project is one image away."""
    world.write({"Dockerfile": BUILDFILE, "a": "a\n"})
    return world


def build(world: World, base: Path, *options: str, **env: str) -> dict:
    """Build, with what `--metadata-file` says."""
    context = f"busybox=oci-layout://{base}"
    world.build("--build-context", context, "--metadata-file", "../meta.json", *options, **env)
    return json.loads((world.top / "meta.json").read_text())


as_root = pytest.mark.parametrize("world", ["root"], indirect=True)


@as_root
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_skopeo_and_umoci_read_layouts(built: World, base_layout: Path, engines: Engines, compression: str) -> None:
    meta = build(
        built,
        base_layout,
        f"--compression={compression}",
        *("-t", "made:1", "-o", "type=oci,dest=../made.tar", "-o", "type=oci,tar=false,dest=../made"),
    )
    digest = meta["containerimage.digest"]
    build(built, base_layout, f"--compression={compression}", "-t", "made:1", "-o", "type=docker,dest=../docker.tar")
    for source in (f"oci-archive:{built.top}/made.tar", f"oci:{built.top}/made"):
        found = json.loads(engines.skopeo("inspect", source))
        assert (found["Digest"], found["Labels"]) == (digest, {"made.by": "pybuild"})
        assert "WORD=hello" in found["Env"]
    engines.skopeo("copy", "--preserve-digests", f"oci-archive:{built.top}/made.tar", f"oci:{built.top}/copy:1")
    assert json.loads(engines.skopeo("inspect", f"oci:{built.top}/copy:1"))["Digest"] == digest
    config = json.loads(engines.skopeo("inspect", "--config", f"docker-archive:{built.top}/docker.tar"))
    assert config["config"]["User"] == "app"

    if compression == "zstd":
        return  # umoci of before 0.5 reads none
    tag = json.loads((built.top / "made" / "index.json").read_text())["manifests"][0]["annotations"]
    name = tag["org.opencontainers.image.ref.name"]
    engines.umoci("unpack", "--image", f"{built.top}/made:{name}", f"{built.top}/bundle")
    root = built.top / "bundle" / "rootfs"
    assert (root / "d/f").read_text() == "hello\n"
    assert (root / "d/f").stat().st_ino == (root / "d/g").stat().st_ino
    assert (root / "data/a").stat().st_mode & 0o7777 == 0o750
    assert ((root / "data/a").stat().st_uid, (root / "data/a").stat().st_gid) == (77, 50)
    assert (root / "d/t").stat().st_mode & 0o7777 == 0o1777
    assert not (root / "bin/yes").is_symlink()


@as_root
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_docker_loads_and_runs(built: World, base_layout: Path, docker: Docker, compression: str) -> None:
    build(built, base_layout, f"--compression={compression}", "-t", "made:1", "-o", "type=docker,dest=../docker.tar")
    assert "made:1" in docker("load", "-i", str(built.top / "docker.tar"))
    assert docker("run", "--rm", "--network=host", "made:1") == SAYS
    docker("image", "rm", "-f", "made:1")


@as_root
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_podman_loads_and_runs(built: World, base_layout: Path, engines: Engines, compression: str, kind: str) -> None:
    build(built, base_layout, f"--compression={compression}", "-t", "made:1", "-o", f"type={kind},dest=../made.tar")
    loaded = engines.podman("load", "-q", "-i", str(built.top / "made.tar")).strip().rpartition("Loaded image: ")[2]
    assert engines.podman("run", "--rm", "--network=host", loaded) == SAYS
    engines.podman("rmi", "-f", loaded)


@as_root
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_is_pushed_is_pulled(
    built: World, base_layout: Path, engines: Engines, registry: str, docker: Docker, compression: str
) -> None:
    name = f"{registry}/made:{compression}"
    meta = build(built, base_layout, f"--compression={compression}", "-t", name, "--push")
    found = json.loads(engines.skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    assert found["Digest"] == meta["containerimage.digest"]
    engines.podman("pull", "-q", "--tls-verify=false", name)
    assert {"podman": engines.podman("run", "--rm", "--network=host", name)} == {"podman": SAYS}
    engines.podman("rmi", "-f", name)
    assert {"docker": docker("run", "--rm", "--network=host", name)} == {"docker": SAYS}
    docker("image", "rm", "-f", name)
    # And by a pybuild that never saw it.
    built.store = built.top / "other"
    done = built.run("run", name, PYBUILD_HOME=str(built.top / "other"))
    assert done.stdout == SAYS


@as_root
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("builder", ["docker", "buildah"])
def test_images_of_others_are_bases(
    built: World, base_layout: Path, engines: Engines, registry: str, docker: Docker, builder: str, compression: str
) -> None:
    name = f"{registry}/{builder}:{compression}"
    if builder == "docker":
        assert not docker.build(name, built.project)
        docker("push", name)
    else:
        (built.top / "policy.json").write_text(POLICY)
        policy = ("--signature-policy", str(built.top / "policy.json"))
        image = engines.buildah("pull", "-q", *policy, f"oci:{base_layout}:latest").strip()
        text = BUILDFILE.replace("FROM busybox", f"FROM {image}")
        (built.project / "Containerfile").write_text(text)
        options = ("--isolation=chroot", "--pull=never", "-q", "-t", name, "-f", str(built.project / "Containerfile"))
        engines.buildah("build", *policy, *options, str(built.project))
        engines.buildah("push", *policy, "-q", "--tls-verify=false", name)
    if compression == "zstd":
        plain, packed = f"dir:{built.top}/plain", f"oci:{built.top}/zstd"
        # What is compressed already stays as it is, so its compression has to go first.
        engines.skopeo("copy", "--src-tls-verify=false", "--dest-decompress", f"docker://{name}", plain)
        engines.skopeo("copy", "--dest-compress-format=zstd", plain, packed)
        engines.skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", packed, f"docker://{name}")
        layers = json.loads(engines.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}"))["layers"]
        assert {layer["mediaType"].rpartition("+")[2] for layer in layers} == {"zstd"}
    assert built.run("run", name).stdout == SAYS
    built.write(
        {"Dockerfile": f"FROM {name}\nUSER root\nRUN cat /d/l > /copied && stat -c '%u %g %a' /data/a >> /copied\n"}
    )
    out = built.out()
    assert (out / "copied").read_text() == "hello\n77 50 750\n"
    assert (out / "d/f").stat().st_ino == (out / "d/g").stat().st_ino


@pytest.mark.parametrize("how", [{"SOURCE_DATE_EPOCH": "1700000000"}, {}], ids=["epoch", "reproducible"])
def test_two_clean_builds_give_one_digest(built: World, base_layout: Path, how: dict[str, str]) -> None:
    options = () if how else ("--reproducible",)
    digests = set()
    for attempt in ("one", "two"):
        built.store = built.top / attempt
        meta = build(built, base_layout, "-o", f"type=oci,dest=../{attempt}.tar", *options, **how)
        digests.add(meta["containerimage.digest"])
    assert len(digests) == 1
    assert (built.top / "one.tar").read_bytes() == (built.top / "two.tar").read_bytes()
