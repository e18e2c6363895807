"""Caches on servers: a plain one that takes PUT; servers that are down, slow, wrong; who saves at once, and dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.behaviour.cache_machines import Bucket, Machines
from tests.behaviour.packed import is_layer
from tests.behaviour.world import World
from tests.web_server import Handler, Request, web_server

# Who runs it makes no difference to a server.
pytestmark = pytest.mark.parametrize("world", ["root" if os.geteuid() == 0 else "user"], indirect=True)


@pytest.fixture
def machines(world: World, base_layout: Path) -> Iterator[Machines]:
    with web_server() as web:
        yield Machines(world, base_layout, Bucket(web))


def test_through_a_plain_server(machines: Machines) -> None:
    machines.build("one", machines.to)
    assert len(machines.bucket.files) == 5  # three layers, the document, the manifest
    machines.bucket.asked.clear()
    assert machines.ran(machines.build("two", machines.source)) == 0
    assert [line.split()[0] for line in machines.bucket.asked] == ["GET", "GET"]  # manifest and document
    done = machines.build("two", machines.source, "-o", "out")
    assert machines.ran(done) == 0
    assert (machines.world.project / "out/made").stat().st_size == 300_000
    assert "0 bytes sent" in machines.build("two", machines.source, machines.to).stderr


def test_caches_of_several_names(machines: Machines) -> None:
    machines.build("one", machines.to + ",name=app")
    assert machines.ran(machines.build("two", machines.source + ",name=app")) == 0
    assert "there is no cache at" in machines.build("three", machines.source).stderr


def only_to(authorization: str) -> Callable[[Handler, Request], bool]:
    """Answers 401 to all who do not send this."""

    def guarded(handler: Handler, request: Request) -> bool:
        if request.headers.get("authorization") == authorization:
            return False
        handler.answer(401)
        return True

    return guarded


def test_the_token_is_sent_and_shown_nowhere(machines: Machines) -> None:
    machines.bucket.fault = only_to("Bearer s3cret")
    done = machines.build("one", machines.to)
    assert "was not written: the server answers 401" in done.stderr
    done = machines.build("one", machines.to, PYBUILD_CACHE_TOKEN="s3cret")
    assert "exported cache" in done.stderr
    done = machines.build("two", machines.source, "-o", "out", PYBUILD_CACHE_TOKEN="s3cret")
    assert machines.ran(done) == 0
    assert "s3cret" not in done.stderr
    found = [
        path for path in (machines.world.top / "two").rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()
    ]
    assert not found


@pytest.mark.attack("R13")
def test_a_token_with_a_line_feed(machines: Machines) -> None:
    """As CI systems hand on what somebody pasted with the end of its line."""
    machines.bucket.fault = only_to("Bearer s3cret")
    assert "exported cache" in machines.build("one", machines.to, PYBUILD_CACHE_TOKEN=" s3cret\n").stderr
    assert machines.ran(machines.build("two", machines.source, PYBUILD_CACHE_TOKEN="s3cret\n")) == 0
    for token in ("s3cret\ns3cret", "s3cret\u2603"):
        done = machines.build("three", machines.source, machines.to, "--no-cache", PYBUILD_CACHE_TOKEN=token)
        assert machines.ran(done) == 3
        assert "was not written: what is in `PYBUILD_CACHE_TOKEN` is no token" in done.stderr
        assert "s3cret" not in done.stderr
        assert "Traceback" not in done.stderr
    done = machines.build("four", machines.source, PYBUILD_CACHE_TOKEN="s3cret\ns3cret")
    assert machines.ran(done) == 3
    assert "is not used: what is in `PYBUILD_CACHE_TOKEN` is no token" in done.stderr


@pytest.mark.attack("R13")
def test_user_and_password_of_the_url_are_sent_and_shown_nowhere(machines: Machines) -> None:
    machines.bucket.fault = only_to("Basic bWU6czNjcmV0")
    to, source = (one.replace("http://", "http://me:s3cret@") for one in (machines.to, machines.source))
    done = machines.build("one", to)
    assert "exported cache http://me@127.0.0.1" in done.stderr
    assert "s3cret" not in done.stderr
    done = machines.build("two", source, "-o", "out")
    assert machines.ran(done) == 0
    assert "s3cret" not in done.stderr
    done = machines.build("three", source, to, "--progress=json", PYBUILD_CACHE_TOKEN="another")
    assert "was not written" in done.stderr + done.stdout
    assert "s3cret" not in done.stderr + done.stdout


def test_a_signature_in_the_url_is_shown_nowhere(machines: Machines) -> None:
    to = f"{machines.to}?sig=s3cret"
    source = to.replace("--cache-to", "--cache-from")
    done = machines.build("one", to)
    assert "exported cache" in done.stderr
    assert "s3cret" not in done.stderr
    assert all(line.endswith("?sig=s3cret") for line in machines.bucket.asked)
    assert machines.ran(machines.build("two", source)) == 0
    machines.bucket.fault = answers(500)
    done = machines.build("three", source, to)
    assert "was not written" in done.stderr
    assert "s3cret" not in done.stderr


def answers(status: int) -> Callable[[Handler, Request], bool]:
    def fault(handler: Handler, request: Request) -> bool:
        handler.answer(status)
        return True

    return fault


def hangs_up(handler: Handler, request: Request) -> bool:
    handler.close_connection = True
    handler.connection.close()
    return True


@pytest.mark.parametrize("fault", [answers(500), answers(403), answers(302), hangs_up])
def test_a_server_that_fails_is_said_and_not_used(
    machines: Machines, fault: Callable[[Handler, Request], bool]
) -> None:
    machines.build("one", machines.to)
    machines.bucket.fault = fault
    done = machines.build("two", machines.source, machines.to)
    assert machines.ran(done) == 3
    assert "is not used" in done.stderr
    assert "was not written" in done.stderr


def test_a_server_that_is_down(machines: Machines) -> None:
    with web_server() as gone:
        url = gone.url
    done = machines.build("one", f"--cache-from=type=http,url={url}", f"--cache-to=type=http,url={url}")
    assert machines.ran(done) == 3
    assert "is not used" in done.stderr
    assert "was not written" in done.stderr


@pytest.mark.slow
def test_a_server_that_is_slow(machines: Machines) -> None:
    """A thousand bytes in a second: the document does not come in time."""
    machines.build("one", machines.to)

    def slow(handler: Handler, request: Request) -> bool:
        data = machines.bucket.files.get(request.path, b"")
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) + 60_000))
        handler.end_headers()
        try:
            for start in range(0, len(data) + 60_000, 100):
                handler.wfile.write((data + b" " * 60_000)[start : start + 100])
                time.sleep(0.1)
        except OSError:
            pass
        return True

    machines.bucket.fault = slow
    began = time.monotonic()
    done = machines.build("two", machines.source)
    assert machines.ran(done) == 3
    assert "does not answer in 20 seconds" in done.stderr
    assert time.monotonic() - began < 60


def layers_only(then: Callable[[Handler, Request, bytes], None], bucket: Bucket) -> Callable[[Handler, Request], bool]:
    """A fault that meets only large files."""

    def fault(handler: Handler, request: Request) -> bool:
        data = bucket.files.get(request.path, b"")
        if request.method != "GET" or not is_layer(data):
            return False
        then(handler, request, data)
        return True

    return fault


def cut(handler: Handler, request: Request, data: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[:-1])
    handler.close_connection = True


def other(handler: Handler, request: Request, data: bytes) -> None:
    handler.answer(200, data[:-1] + bytes([data[-1] ^ 1]))


def none(handler: Handler, request: Request, data: bytes) -> None:
    handler.answer(404)


@pytest.mark.parametrize("then", [cut, other, none])
def test_layers_that_come_wrong_are_made_here(
    machines: Machines, then: Callable[[Handler, Request, bytes], None]
) -> None:
    machines.build("one", machines.to)
    machines.bucket.fault = layers_only(then, machines.bucket)
    done = machines.build("two", machines.source, "-o", "out")
    assert "are made again" in done.stderr
    assert (machines.world.project / "out/tools").read_text() == "tools\n"
    assert (machines.world.project / "out/made").stat().st_size == 300_000
    verified = machines.world.run("cache", "verify", PYBUILD_HOME=str(machines.world.top / "two"))
    assert "nothing is damaged" in verified.stdout


def test_a_blob_that_was_made_again_is_whole_for_the_next_machine(machines: Machines) -> None:
    machines.world.write({"Dockerfile": "FROM busybox\nRUN yes | head -c 3000000 > /made\n"})
    machines.build("one", machines.to, SOURCE_DATE_EPOCH="0")
    files = machines.bucket.files
    before = dict(files)
    for name, data in before.items():
        if is_layer(data):
            files[name] = data[:-1] + bytes([data[-1] ^ 1])
    assert files != before
    done = machines.build("two", machines.source, machines.to, "-o", "out", SOURCE_DATE_EPOCH="0")
    assert "are made again" in done.stderr
    assert files.keys() >= before.keys()
    done = machines.build("three", machines.source, "-o", "out", SOURCE_DATE_EPOCH="0")
    assert machines.ran(done) == 0
    assert "warning" not in done.stderr


@pytest.mark.slow
def test_layers_that_come_slowly_are_made_here(machines: Machines) -> None:
    """A thousand bytes in a second, which would take five minutes."""
    machines.build("one", machines.to)

    def slow(handler: Handler, request: Request, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        try:
            for start in range(0, len(data), 100):
                handler.wfile.write(data[start : start + 100])
                time.sleep(0.1)
        except OSError:
            pass

    machines.bucket.fault = layers_only(slow, machines.bucket)
    done = machines.build("two", machines.source, "-o", "out")
    assert "are made again: the layer comes too slowly" in done.stderr
    assert (machines.world.project / "out/made").stat().st_size == 300_000


@pytest.mark.slow
def test_a_server_that_takes_layers_slowly(machines: Machines) -> None:
    """The build does not wait for as long as that would take."""

    def slow(handler: Handler, request: Request) -> bool:
        length = int(request.headers.get("content-length", "0"))
        if request.method == "PUT" and length > 100_000:
            time.sleep(length / 1000)
        return False

    machines.bucket.fault = slow
    done = machines.build("one", machines.to)
    assert "was not written: the server cannot be reached: it takes too long" in done.stderr
    machines.bucket.fault = lambda handler, request: False
    machines.build("one", machines.to)
    assert machines.ran(machines.build("two", machines.source)) == 0


def test_two_machines_that_save_at_once(machines: Machines) -> None:
    """Each leaves a whole cache, whoever was last; so does a directory."""
    directory = f"type=local,dest={machines.world.top}/cache"
    context = ("--build-context", f"busybox=oci-layout://{machines.layout}")
    running = [
        subprocess.Popen(
            machines.world.command("build", *context, "-q", machines.to, f"--cache-to={directory}", "."),
            cwd=machines.world.project,
            env=machines.world.environment(PYBUILD_HOME=str(machines.world.top / f"m{number}")),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in running:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert "warning" not in err
    assert machines.ran(machines.build("web", machines.source, "-o", "out")) == 0
    done = machines.build("dir", f"--cache-from=type=local,src={machines.world.top}/cache", "-o", "out")
    assert machines.ran(done) == 0


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_save_that_is_killed_leaves_the_cache_before(machines: Machines, moment: float) -> None:
    directory = machines.world.top / "cache"
    machines.build("one", f"--cache-to=type=local,dest={directory}")
    machines.world.write({"src/a.txt": "b\n"})
    context = ("--build-context", f"busybox=oci-layout://{machines.layout}")
    process = subprocess.Popen(
        machines.world.command("build", *context, "--progress=plain", f"--cache-to=type=local,dest={directory}", "."),
        cwd=machines.world.project,
        env=machines.world.environment(PYBUILD_HOME=str(machines.world.top / "one")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    seen = 0
    for line in process.stderr:
        seen += " DONE" in line
        if seen == 2:  # of two steps that run again the last one is done: what follows is the save
            break
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    index = json.loads((directory / "index.json").read_text())
    assert len(index["manifests"]) == 1
    done = machines.build("two", f"--cache-from=type=local,src={directory}")
    assert "warning" not in done.stderr
    assert machines.ran(done) in (0, 2)  # the new cache, or the one before
    machines.build("one", f"--cache-to=type=local,dest={directory}")
    assert not list(directory.rglob(".pybuild-*"))
    assert machines.ran(machines.build("three", f"--cache-from=type=local,src={directory}")) == 0


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_save_to_a_server_that_is_killed_leaves_the_cache_before(machines: Machines, number: int) -> None:
    """As the request arrives that sends the first layer, the second one, the document, the manifest."""
    machines.build("one", machines.to)
    machines.world.write({"src/a.txt": "b\n"})
    started: list[int] = []
    puts = 0

    def kills(handler: Handler, request: Request) -> bool:
        nonlocal puts
        puts += request.method == "PUT"
        if puts == number:
            os.killpg(started[0], signal.SIGKILL)
        return puts >= number

    machines.bucket.fault = kills
    context = ("--build-context", f"busybox=oci-layout://{machines.layout}")
    process = subprocess.Popen(
        machines.world.command("build", *context, "-q", machines.to, "."),
        cwd=machines.world.project,
        env=machines.world.environment(PYBUILD_HOME=str(machines.world.top / "one")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    started.append(process.pid)
    assert process.wait(timeout=240) == -signal.SIGKILL
    machines.bucket.fault = lambda handler, request: False
    done = machines.build("two", machines.source)
    assert "warning" not in done.stderr
    assert machines.ran(done) == 2  # by the cache before
    machines.build("one", machines.to)
    assert machines.ran(machines.build("three", machines.source)) == 0
    verified = machines.world.run("cache", "verify", PYBUILD_HOME=str(machines.world.top / "one"))
    assert "nothing is damaged" in verified.stdout
