"""The tutorial's examples, built from a real Debian in a real registry: built, built again, pushed, pulled and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.conftest import USER, base_layout, shared, user_python, world
from tests.behaviour.containers import supervisors, until
from tests.behaviour.watched import leftovers
from tests.behaviour.world import REPOSITORY, World, this_python
from tests.needs import need, need_way_out
from tests.peers.engines import Engines
from tests.registry_server import free_port, registry_server

__all__ = ["base_layout", "shared", "user_python", "world"]

EXAMPLES = REPOSITORY / "docs" / "tutorial" / "examples"
RELEASES = ("trixie", "bookworm")
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
    """A registry with the Debian releases of the examples in it, named as a mirror of the official images has them."""
    need("mmdebstrap", "docker-registry")
    tars = {release: place / f"{release}.tar" for release in RELEASES}
    making = {
        release: subprocess.Popen(
            ["mmdebstrap", "--variant=minbase", "--quiet", release, str(tar)],
            env={**os.environ, "TMPDIR": str(place / "tmp")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for release, tar in tars.items()
    }
    said = {release: process.communicate()[1] for release, process in making.items()}
    for release, process in making.items():
        if process.returncode != 0:
            pytest.skip(f"no Debian mirror with {release} is in reach: {said[release][-300:]}")
    layout = place / "debian"
    engines.umoci("init", "--layout", str(layout))
    for release, tar in tars.items():
        engines.umoci("new", "--image", f"{layout}:{release}")
        engines.umoci("raw", "add-layer", "--image", f"{layout}:{release}", str(tar))
        tar.unlink()
    with registry_server(place / "registry") as address:
        for release in RELEASES:
            target = f"docker://{address}/library/debian:{release}"
            engines.skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:{release}", target)
        shutil.rmtree(layout)
        yield address


@pytest.fixture(scope="module")
def tutorial(place: Path, registry: str) -> World:
    """A project and a store for both Dockerfiles, so that what they share is pulled once."""
    world = World(_made(place / "world"), "root", this_python(), (), str(REPOSITORY))
    _reach_out(world, registry)
    for name in ("hello", "web"):
        shutil.copytree(EXAMPLES / name, world.project / name)
    return world


def _reach_out(world: World, registry: str) -> None:
    """Let it have the base images, packages of Debian and those of Python."""
    world.env["PYBUILD_REGISTRY_MIRRORS"] = f"docker.io=http://{registry}"
    if os.path.exists(CERTIFICATES):
        world.env["PYBUILD_CA_BUNDLE"] = CERTIFICATES
    for name in ("PIP_INDEX_URL", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        if name in os.environ:
            world.env[name] = os.environ[name]


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def build(world: World, example: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Build an example as the tutorial says."""
    return world.run("build", "--progress=plain", *options, example)


def fetch(port: int, path: str = "/", data: bytes | None = None) -> str:
    """What is answered at a port of this machine. With data it is a POST."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", data, timeout=10) as answer:
        return str(answer.read().decode())


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
    port = free_port()
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
        _interrupt(running)
    finally:
        running.kill()
        running.communicate()


def _interrupt(running: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does. SIGTERM would not do: the kernel spares process 1 the signals that it has no handler for."""
    running.send_signal(signal.SIGINT)
    try:
        running.wait(timeout=10)
    except subprocess.TimeoutExpired:
        # The page is here before the application is done with the request, and takes an interruption amid that for
        # a failure of it: `wsgiref` goes on then.
        running.send_signal(signal.SIGINT)
        running.wait(timeout=60)


def _page(port: int, running: subprocess.Popen[bytes]) -> str:
    """The page, as soon as it is served."""
    while running.poll() is None:
        try:
            return fetch(port)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    assert running.stderr is not None
    raise AssertionError(f"the application ended: {running.stderr.read().decode()}")


@pytest.fixture
def stack(world: World, registry: str) -> Iterator[World]:
    """The example, with its ports at free ones of this machine. What a test brought up is down at the end."""
    need_way_out(world.mode)
    _reach_out(world, registry)
    world.env["PYBUILD_NETWORK"] = ""
    world.env.update({name: str(free_port()) for name in ("WEB_PORT", "WORKER_PORT")})
    made = shutil.copytree(EXAMPLES / "stack", world.project / "stack")
    if world.mode == "user":
        for path in (made, *made.iterdir()):
            shutil.chown(path, USER, USER)
    yield world
    world.run("down", "-p", "shop", "-v")


def containers(world: World) -> dict[str, dict[str, Any]]:
    """Those of the stack, by service."""
    return {one["service"]: one for one in json.loads(world.run("ps", "-a", "-p", "shop", "--json").stdout)}


def processes(world: World, service: str) -> list[int]:
    """Those of a container, its first one first, with this machine's numbers."""
    return [int(word) for word in world.run("top", f"shop-{service}-1", "-o", "pid=").stdout.split()]


def kill(world: World, process: int) -> None:
    """As the user whose container it is."""
    subprocess.run([*world.command()[:-3], "kill", "-9", str(process)], check=True)


def test_stack(stack: World) -> None:
    """What is ordered goes through real servers of two releases, one that is killed comes back, and nothing is left."""
    assert "PASS  web: orders" in stack.run("test", "stack").stdout
    again = stack.run("test", "stack")
    assert again.stdout.startswith("PASS  web: orders  cached\n"), again.stdout

    stack.run("up", "-f", "stack/compose.yaml", "-d", "--wait")
    before = containers(stack)
    web, worker = int(stack.env["WEB_PORT"]), int(stack.env["WORKER_PORT"])
    assert {name: one["ports"] for name, one in before.items()} == {
        "web": [{"host_ip": "127.0.0.1", "host_port": web, "container_port": 8000, "protocol": "tcp"}],
        "worker": [{"host_ip": "127.0.0.1", "host_port": worker, "container_port": 8000, "protocol": "tcp"}],
        "broker": [],
        "db": [],
    }
    shown = stack.run("ps").stdout
    assert f"127.0.0.1:{web}->8000/tcp" in shown
    assert f"127.0.0.1:{worker}->8000/tcp" in shown
    assert [before[name]["health"]["status"] for name in ("web", "broker", "db")] == ["healthy"] * 3

    def done() -> list[list[str]]:
        """The orders that the application shows; none while it or its database is away."""
        try:
            page = json.loads(fetch(web, "/orders"))
        except (urllib.error.URLError, ConnectionError):
            return []
        assert page["shown_by"].startswith("Python 3.11.")
        orders: list[list[str]] = page["orders"]
        return orders

    def items() -> list[str]:
        return [item for item, _ in done()]

    assert fetch(web, "/orders", b"item=tea") == "taken\n"
    until(lambda: items() == ["tea"])
    by = done()[0][1]
    assert by.startswith("Python 3.13.")
    assert fetch(worker) == f"{by} has done 1 orders\n"

    # Each passed through the broker, and is in the database.
    command = ("valkey-cli", "info", "commandstats")
    counted = stack.run("exec", "shop-broker-1", *command).stdout
    assert re.search(r"^cmdstat_lpush:calls=1,", counted, re.M), counted
    query = ("psql", "-At", "-c", "select number, item, done_by from orders order by number", "shop")
    assert stack.run("exec", "shop-db-1", *query).stdout == f"1|tea|{by}\n"

    killed = processes(stack, "db")
    kill(stack, killed[0])
    assert fetch(web, "/orders", b"item=coffee") == "taken\n", "the broker has it meanwhile"
    until(lambda: items() == ["tea", "coffee"])
    after = containers(stack)
    assert {name: one["id"] for name, one in after.items()} == {name: one["id"] for name, one in before.items()}
    assert after["db"]["restarts"] == 1
    assert (after["web"]["restarts"], after["broker"]["restarts"]) == (0, 0)
    assert not set(killed) & set(processes(stack, "db"))
    assert "database system was not properly shut down" in stack.run("logs", "shop-db-1").stderr

    kill(stack, processes(stack, "web")[0])
    until(lambda: items() == ["tea", "coffee"] and containers(stack)["web"]["restarts"] == 1)
    assert fetch(web, "/orders", b"item=milk") == "taken\n"
    until(lambda: items() == ["tea", "coffee", "milk"])

    # An edit of the application replaces that alone.
    source = stack.project / "stack" / "web.py"
    source.write_text(source.read_text().replace("taken", "thank you"))
    said = stack.run("up", "-f", "stack/compose.yaml", "-d", "--wait").stderr
    assert "web: replaced" in said
    assert [line for line in said.splitlines() if line.endswith(": replaced")] == ["web: replaced"]
    assert fetch(web, "/orders", b"item=tea") == "thank you\n"
    until(lambda: len(done()) == 4)

    running = [pid for name in before for pid in processes(stack, name)]
    stack.run("down", "-p", "shop", "-v")
    assert (stack.run("ps", "-aq").stdout, stack.run("volume", "ls", "-q").stdout) == ("", "")
    assert not [pid for pid in running if os.path.exists(f"/proc/{pid}")]
    assert not supervisors(stack)
    assert leftovers(stack) == []
    assert os.listdir(stack.store / "networks") == []
    assert str(stack.store) not in Path("/proc/self/mountinfo").read_text()
    for port in (web, worker):
        with pytest.raises(urllib.error.URLError):
            fetch(port)
