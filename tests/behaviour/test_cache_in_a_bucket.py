"""A cache in a bucket of a real S3 server: its words, its keys, what is there, what is wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.world import World
from tests.needs import need
from tests.s3_server import COMMANDS, KEYS, s3_server

# Who runs it makes no difference to a server.
pytestmark = pytest.mark.parametrize("world", ["root" if os.geteuid() == 0 else "user"], indirect=True)

DOCKERFILE = """\
FROM busybox
RUN echo tools > /tools
COPY src /src
RUN head -c 300000 /dev/urandom > /made
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need(*COMMANDS)
    with s3_server(tmp_path_factory.mktemp("s3") / "server", "caches") as url:
        yield url


class Machines:
    def __init__(self, world: World, layout: Path, server: str) -> None:
        self.world = world
        # The directory of the test is in no other test's prefix.
        self.where = f"type=s3,bucket=caches,endpoint_url={server},prefix=of the/{world.top.name}"
        self._layout = layout
        world.write({"Dockerfile": DOCKERFILE, "src/a.txt": "a\n"})

    def build(self, machine: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        context = ("--build-context", f"busybox=oci-layout://{self._layout}")
        keys = {**KEYS, **env}
        return self.world.build(*context, *argv, PYBUILD_HOME=str(self.world.top / machine), **keys)

    def ran(self, done: subprocess.CompletedProcess[str]) -> int:
        return len(self.world.ran(done))


@pytest.fixture
def machines(world: World, base_layout: Path, server: str) -> Machines:
    return Machines(world, base_layout, server)


def test_another_machine_runs_nothing(machines: Machines) -> None:
    done = machines.build("one", f"--cache-to={machines.where}")
    assert "exported cache" in done.stderr
    assert machines.ran(machines.build("two", f"--cache-from={machines.where}")) == 0
    done = machines.build("two", f"--cache-from={machines.where}", "-o", "out")
    assert machines.ran(done) == 0
    assert (machines.world.project / "out/made").stat().st_size == 300_000
    assert "0 bytes sent" in machines.build("one", f"--cache-to={machines.where}").stderr
    machines.world.write({"src/a.txt": "b\n"})
    assert machines.ran(machines.build("three", f"--cache-from={machines.where}")) == 2


def test_names_and_prefixes_are_caches_of_their_own(machines: Machines) -> None:
    machines.build("one", f"--cache-to={machines.where},name=app")
    done = machines.build("two", f"--cache-from={machines.where}")
    assert "there is no cache at s3://caches/of%20the/" in done.stderr
    assert machines.ran(machines.build("two", f"--cache-from={machines.where},name=app")) == 0
    other = f"{machines.where}-other,name=app"
    assert "there is no cache at" in machines.build("three", f"--cache-from={other}").stderr


def test_cache_mounts_go_there_too(machines: Machines) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c date >> /c/log; cp /c/log /log\n"
    machines.world.write({"Dockerfile": text})
    machines.build("one", f"--cache-to={machines.where},mounts=true")
    machines.world.write({"Dockerfile": text + "RUN --mount=type=cache,target=/c cp /c/log /second\n"})
    machines.build("two", f"--cache-from={machines.where}", "-o", "out")
    assert (machines.world.project / "out/second").read_text() == (machines.world.project / "out/log").read_text()


def test_keys_are_kept_and_shown_nowhere(machines: Machines) -> None:
    machines.build("one", f"--cache-to={machines.where}")
    done = machines.build("two", f"--cache-from={machines.where}", "-o", "out")
    for secret in (KEYS["AWS_SECRET_ACCESS_KEY"], "X-Amz-Signature"):
        assert secret not in done.stderr
        files = [path for path in (machines.world.top / "two").rglob("*") if path.is_file()]
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_wrong_keys_are_said(machines: Machines) -> None:
    machines.build("one", f"--cache-to={machines.where}")
    where = (f"--cache-from={machines.where}", f"--cache-to={machines.where}")
    done = machines.build("two", *where, AWS_SECRET_ACCESS_KEY="another")
    assert machines.ran(done) == 3
    assert "is not used: the server answers 403" in done.stderr
    assert "was not written: the server answers 403" in done.stderr
    done = machines.build("three", f"--cache-from={machines.where}")
    assert machines.ran(done) == 0


def test_a_bucket_that_is_not_there(machines: Machines) -> None:
    where = machines.where.replace("bucket=caches", "bucket=nobodys")
    done = machines.build("one", f"--cache-from={where}", f"--cache-to={where}")
    assert machines.ran(done) == 3
    assert "is not used: the server answers 404 (NoSuchBucket" in done.stderr
    assert "was not written: " in done.stderr


def test_a_server_that_is_gone(world: World, base_layout: Path, tmp_path: Path) -> None:
    need(*COMMANDS)
    with s3_server(tmp_path / "server", "caches") as url:
        machines = Machines(world, base_layout, url)
        machines.build("one", f"--cache-to={machines.where}")
        machines.build("two", f"--cache-from={machines.where}")
    done = machines.build("two", f"--cache-from={machines.where}", "-o", "out")
    assert "are made again" in done.stderr
    assert (world.project / "out/made").stat().st_size == 300_000


def test_nobody_is_asked_offline(machines: Machines) -> None:
    machines.build("one", f"--cache-to={machines.where}")
    done = machines.build("two", f"--cache-from={machines.where}", "--offline", AWS_SECRET_ACCESS_KEY="another")
    assert machines.ran(done) == 3
    assert "(--offline)" in done.stderr
