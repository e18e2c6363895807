"""What goes to a cache's server, and when: as steps end, what is not there, and what is worth its way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.cache_machines import Bucket, Machines
from tests.behaviour.packed import is_layer, unpacked
from tests.behaviour.watched import leftovers, watch
from tests.behaviour.world import World
from tests.web_server import Handler, Request, web_server

# Who runs it makes no difference to a server.
pytestmark = pytest.mark.parametrize("world", ["root" if os.geteuid() == 0 else "user"], indirect=True)

MIB = 1 << 20


@pytest.fixture
def machines(world: World, base_layout: Path) -> Iterator[Machines]:
    with web_server() as web:
        bucket = Bucket(web)

        def arrived(handler: Handler, request: Request) -> None:
            handler.answer(200 if any(is_layer(data) for data in bucket.files.values()) else 404)

        web.pages["/arrived"] = arrived
        yield Machines(world, base_layout, bucket)


def waits_for_an_upload(machines: Machines) -> str:
    """A RUN that ends when a layer is on the server."""
    url = machines.bucket.url.replace("/cache", "/arrived")
    return f"RUN until wget -q -O /dev/null {url}; do sleep 0.1; done; echo begun; true\n"


def manifest(machines: Machines) -> bytes | None:
    return machines.bucket.files.get("/cache/main")


def document(machines: Machines) -> list[str]:
    """Names of the steps that the cache has."""
    data = manifest(machines)
    assert data is not None
    digest = json.loads(data)["config"]["digest"].removeprefix("sha256:")
    found = json.loads(unpacked(machines.bucket.files[f"/cache/blobs/sha256/{digest}"]))
    return [step["name"] for step in found["steps"]]


def test_a_layer_is_on_its_way_while_later_steps_run(machines: Machines) -> None:
    """Else the build would not end."""
    machines.world.write(
        {"Dockerfile": "FROM busybox\nRUN head -c 3000 /dev/urandom > /one\n" + waits_for_an_upload(machines)}
    )
    done = machines.build("one", machines.to)
    assert "exported cache" in done.stderr
    asked = machines.bucket.asked
    assert asked[-1] == "PUT /cache/main"
    assert len([line for line in asked if line.startswith("PUT")]) == 3  # a layer, the document, the manifest
    # What is known to be there is not asked for a second time.
    assert len([line for line in asked if line.startswith("HEAD")]) == 2
    assert machines.ran(machines.build("two", machines.source)) == 0


def test_after_ctrl_c_nothing_is_named(machines: Machines) -> None:
    text = "FROM busybox\nRUN head -c 3000 /dev/urandom > /one\n" + waits_for_an_upload(machines)
    machines.world.write({"Dockerfile": text + "RUN sleep 300\n"})
    context = f"--build-context=busybox=oci-layout://{machines.layout}"
    argv = ("build", "--progress=plain", context, machines.to, ".")
    end = watch(machines.world, *argv, until="begun\n", signals=[signal.SIGINT])
    assert end.code == 130
    assert leftovers(machines.world) == []
    assert manifest(machines) is None
    assert any(is_layer(data) for data in machines.bucket.files.values())
    machines.world.write({"Dockerfile": text})
    done = machines.build("two", machines.source, machines.to)
    assert "there is no cache at" in done.stderr
    assert machines.ran(machines.build("three", machines.source)) == 0


def test_ctrl_c_while_a_server_lets_us_wait(machines: Machines) -> None:
    over = threading.Event()
    stalled = machines.world.project / "stalled"

    def stall(handler: Handler, request: Request) -> bool:
        if request.method == "PUT":
            stalled.touch()
            over.wait()
        return request.method == "PUT"

    machines.bucket.fault = stall
    machines.world.write({".dockerignore": "stalled\n"})
    context = f"--build-context=busybox=oci-layout://{machines.layout}"
    try:
        end = watch(
            machines.world, "build", "-q", context, machines.to, ".", file=str(stalled), signals=[signal.SIGINT]
        )
    finally:
        over.set()
    assert end.code == 130
    assert leftovers(machines.world) == []
    assert not machines.bucket.files
    machines.bucket.fault = lambda handler, request: False
    machines.build("two", machines.to)
    assert machines.ran(machines.build("three", machines.source)) == 0


def test_a_failed_build_leaves_what_went_well(machines: Machines) -> None:
    machines.world.write({"Dockerfile": "FROM busybox\nRUN echo one > /one\nRUN false\n"})
    assert machines.build("one", machines.to, ok=False).returncode == 1
    assert len(document(machines)) == 1
    machines.world.write({"Dockerfile": "FROM busybox\nRUN echo one > /one\n"})
    assert machines.ran(machines.build("two", machines.source)) == 0


def test_a_server_that_fails_meanwhile_is_said_once(machines: Machines) -> None:
    def refuses(handler: Handler, request: Request) -> bool:
        if request.method == "PUT":
            handler.answer(507)
        return request.method == "PUT"

    machines.bucket.fault = refuses
    done = machines.build("one", machines.to)
    assert done.stderr.count("warning: ") == 1
    assert "was not written: the server answers 507" in done.stderr
    # Neither for the other layers nor for the document it is asked again.
    assert len([line for line in machines.bucket.asked if line.startswith("PUT")]) == 1


def test_a_layer_that_cannot_be_read_stops_no_other(machines: Machines) -> None:
    """Of another cache: it is made again, and then all of them are written."""
    other = machines.world.top / "other"
    machines.build("one", f"--cache-to=type=local,dest={other}")
    for path in (other / "blobs/sha256").iterdir():
        if is_layer(path.read_bytes()):
            path.unlink()
    both = (f"--cache-from=type=local,src={other}", machines.to)
    done = machines.build("two", *both, "-o", "out")
    assert "are made again" in done.stderr
    assert "was not written" not in done.stderr
    assert len(document(machines)) == 3
    done = machines.build("three", machines.source, "-o", "out")
    assert machines.ran(done) == 0
    assert "warning" not in done.stderr


def test_a_layer_that_stays_away_is_told_by_the_export(machines: Machines) -> None:
    """What can be read is on the server all the same."""
    other = machines.world.top / "other"
    machines.build("one", f"--cache-to=type=local,dest={other}")
    every = [unpacked(path.read_bytes()) for path in (other / "blobs/sha256").iterdir()]
    [found] = [data for data in every if b'"steps"' in data]
    plain = json.loads(found)
    first = next(step["layer"] for step in plain["steps"] if "tools" in step["name"])
    gone = first["digest"].removeprefix("sha256:")
    (other / "blobs/sha256" / gone).unlink()
    done = machines.build("two", f"--cache-from=type=local,src={other}", machines.to, "--cache-policy=all")
    assert "was not written: " in done.stderr
    sent = [path for path, data in machines.bucket.files.items() if is_layer(data)]
    assert len(sent) == 2
    assert not any(gone in path for path in sent)
    assert manifest(machines) is None


def slowly(machines: Machines) -> None:
    """From now on the server takes a second for each MiB."""

    def slow(handler: Handler, request: Request) -> bool:
        if request.method == "PUT":
            time.sleep(int(request.headers["content-length"]) / MIB)
        return False

    machines.bucket.fault = slow


def two_large_copies(machines: Machines) -> None:
    text = "FROM busybox\nCOPY a /a\nCOPY b /b\nRUN wc -c < /b > /size\n"
    machines.world.write({"Dockerfile": text, "a": os.urandom(2 * MIB), "b": os.urandom(3 * MIB)})


def test_what_takes_longer_to_move_than_to_make_stays(machines: Machines) -> None:
    two_large_copies(machines)
    slowly(machines)
    iid = machines.world.project / "iid"
    done = machines.build("one", machines.to, "--reproducible", "--iidfile", str(iid))
    assert "1 take longer to move than to make" in done.stderr
    first = iid.read_text()
    # Of the first one nobody knew yet.
    assert [name.partition("] ")[2] for name in document(machines)] == ["COPY a /a", "RUN wc -c < /b > /size"]
    done = machines.build("two", machines.source, "--reproducible", "--iidfile", str(iid), "-o", "out")
    assert [name.partition("] ")[2] for name in machines.world.ran(done)] == ["COPY b /b"]
    assert iid.read_text() == first
    assert (machines.world.project / "out/size").read_text() == f"{3 * MIB}\n"


def test_all_of_it_goes_where_that_is_asked_for(machines: Machines) -> None:
    two_large_copies(machines)
    slowly(machines)
    machines.build("one", machines.to, "--cache-policy=all")
    assert len(document(machines)) == 3
    assert machines.ran(machines.build("two", machines.source)) == 0


def test_a_directory_has_all_of_it(machines: Machines) -> None:
    """Nobody knows what moves it, and how fast."""
    two_large_copies(machines)
    cache = f"{machines.world.top}/cache"
    machines.build("one", f"--cache-to=type=local,dest={cache}")
    assert machines.ran(machines.build("two", f"--cache-from=type=local,src={cache}")) == 0


def test_no_layer_goes_that_has_a_secret(machines: Machines) -> None:
    """What is refused is refused before it is on its way."""
    text = (
        "FROM busybox\nRUN head -c 3000 /dev/urandom > /one\n"
        "RUN --mount=type=secret,id=token cp /run/secrets/token /leak; head -c 3000 /dev/urandom > /more\n"
    )
    machines.world.write({"Dockerfile": text, "token": "a-long-token-of-somebody"})
    done = machines.build("one", machines.to, "--secret=id=token,src=token", ok=False)
    assert done.returncode != 0
    assert len(document(machines)) == 1
    assert len(machines.bucket.files) == 3  # one layer, the document, the manifest
