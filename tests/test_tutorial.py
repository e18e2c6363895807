"""The tutorial's examples, built from a real Debian in a real registry: built, built again, pushed, pulled and run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.world import REPOSITORY, World, this_python
from tests.needs import need
from tests.peers.engines import Engines
from tests.registry_server import registry_server

EXAMPLES = REPOSITORY / "docs" / "tutorial" / "examples"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.privileged,
    pytest.mark.xdist_group("tutorial"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="mmdebstrap makes devices and owners as root"),
]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory in memory."""
    directory = Path(
        tempfile.mkdtemp(prefix="pybuild-tutorial-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    )
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def engines(place: Path) -> Engines:
    need("skopeo", "podman", "buildah", "umoci", "runc")
    return Engines(place)


@pytest.fixture(scope="module")
def registry(place: Path, engines: Engines) -> Iterator[str]:
    """A registry with `debian:trixie` in it, under the name that a mirror of the official images has."""
    need("mmdebstrap", "docker-registry")
    tar = place / "debian.tar"
    made = subprocess.run(
        ["mmdebstrap", "--variant=minbase", "--quiet", "trixie", str(tar)],
        env={**os.environ, "TMPDIR": str(place / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"no Debian mirror is in reach: {made.stderr[-300:]}")
    layout = place / "debian"
    engines.umoci("init", "--layout", str(layout))
    engines.umoci("new", "--image", f"{layout}:trixie")
    engines.umoci("raw", "add-layer", "--image", f"{layout}:trixie", str(tar))
    tar.unlink()
    with registry_server(place / "registry") as address:
        target = f"docker://{address}/library/debian:trixie"
        engines.skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:trixie", target)
        shutil.rmtree(layout)
        yield address


@pytest.fixture(scope="module")
def tutorial(place: Path, registry: str) -> World:
    """A project and a store for both examples, so that what they share is pulled once."""
    world = World(_made(place / "world"), "root", this_python(), (), str(REPOSITORY))
    world.env["PYBUILD_REGISTRY_MIRRORS"] = f"docker.io=http://{registry}"
    if os.path.exists(CERTIFICATES):
        world.env["PYBUILD_CA_BUNDLE"] = CERTIFICATES
    for name in ("PIP_INDEX_URL", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        if name in os.environ:
            world.env[name] = os.environ[name]
    for name in ("hello", "web"):
        shutil.copytree(EXAMPLES / name, world.project / name)
    return world


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def build(world: World, example: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Build an example as the tutorial says."""
    return world.run("build", "--progress=plain", *options, example)


def steps_run(world: World, example: str, *options: str) -> list[str]:
    """The steps that ran once more."""
    return world.ran(build(world, example, *options))


def test_hello(tutorial: World, engines: Engines, registry: str) -> None:
    name = f"{registry}/hello:1"
    build(tutorial, "hello", "-t", name)
    assert steps_run(tutorial, "hello", "-t", name) == []
    assert tutorial.run("run", name).stdout == "hello from a scratch image\n"

    tutorial.run("push", name)
    config = json.loads(engines.skopeo("inspect", "--config", "--tls-verify=false", f"docker://{name}"))
    assert config["config"]["Cmd"] == ["/hello"]
    engines.podman("pull", "-q", "--tls-verify=false", name)
    assert engines.podman("run", "--rm", "--network=host", name) == "hello from a scratch image\n"
    engines.podman("rmi", "-f", name)

    source = tutorial.project / "hello" / "hello.c"
    source.write_text(source.read_text().replace("from a scratch image", "once more"))
    assert not [step for step in steps_run(tutorial, "hello", "-t", name) if "apt-get" in step]
    assert tutorial.run("run", name).stdout == "hello once more\n"


def test_web(tutorial: World, engines: Engines, registry: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = tutorial.project / "web" / "app.py"
    app.write_text(app.read_text().replace("port=8000", f"port={port}"))
    name = f"{registry}/web:1"
    build(tutorial, "web", "-t", name)
    assert steps_run(tutorial, "web", "-t", name) == []
    tutorial.run("push", name)
    found = json.loads(engines.skopeo("inspect", "--config", "--tls-verify=false", f"docker://{name}"))
    assert (found["config"]["User"], list(found["config"]["ExposedPorts"])) == ("www-data", ["8000/tcp"])

    command = tutorial.command("run", "--network=host", name)
    running = subprocess.Popen(command, cwd=tutorial.project, env=tutorial.environment(), stderr=subprocess.PIPE)
    try:
        assert _page(port, running) == "hello from a container\n"
        # The application is process 1, which the kernel spares every signal that it has not asked for, SIGTERM too.
        running.send_signal(signal.SIGINT)
        running.wait(timeout=60)
    finally:
        running.kill()
        running.communicate()


def _page(port: int, running: subprocess.Popen[bytes]) -> str:
    """The page, as soon as it is served."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while running.poll() is None:
        try:
            with opener.open(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    assert running.stderr is not None
    raise AssertionError(f"the application ended: {running.stderr.read().decode()}")
