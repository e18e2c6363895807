"""Ctrl-C and its like, at every stage of a build: the exit code, nothing left behind, and the next build is fine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.watched import leftovers, watch
from tests.behaviour.world import World
from tests.fake_registry import FakeRegistry, Handler, Request, fake_registry
from tests.images import sample

INT, TERM, HUP, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL
SLEEP = "FROM busybox\nRUN sleep 300 & echo begun; sleep 300\n"
GOOD = "FROM busybox\nRUN echo good\n"


@pytest.fixture
def busybox(base_layout: Path) -> str:
    return f"--build-context=busybox=oci-layout://{base_layout}"


def good(world: World, busybox: str) -> None:
    """The next build is fine."""
    world.write({"Dockerfile": GOOD})
    assert "DONE" in world.build(busybox, "-t", "good").stderr
    world.run("cache", "verify")
    assert leftovers(world) == []


@pytest.mark.parametrize(
    ("signals", "code"),
    [([INT], 130), ([TERM], 143), ([HUP], 129), ([INT] * 3, 130), ([TERM] * 3, 143), ([INT, TERM, HUP], None)],
    ids=str,
)
def test_while_a_step_runs(world: World, busybox: str, signals: list[int], code: int | None) -> None:
    world.write({"Dockerfile": SLEEP})
    end = watch(world, "build", "--progress=plain", busybox, ".", until="begun\n", signals=signals)
    # Of several that come at once the kernel says which is first.
    assert end.code in ((code,) if code else (129, 130, 143)), end.output
    assert leftovers(world) == []
    good(world, busybox)


@pytest.mark.parametrize("progress", ["tty", "json", "quiet"])
def test_under_every_kind_of_progress(world: World, busybox: str, progress: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN --mount=type=bind,source=/,target=/m sleep 300\n"})
    marker = world.store / "builds"
    started = "file" if progress == "quiet" else "until"
    moment = {"file": str(marker), "until": "sleep"}[started]
    end = watch(world, "build", f"--progress={progress}", busybox, ".", signals=[INT], **{started: moment})
    assert end.code == 130
    assert leftovers(world) == []


def test_no_cache_is_written_after_it(world: World, busybox: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN echo one > /one\nRUN echo begun; sleep 300\n"})
    place = world.project / "cache"
    options = ("--progress=plain", f"--cache-to=type=local,dest={place},mode=max")
    end = watch(world, "build", *options, busybox, ".", until="begun\n", signals=[INT])
    assert end.code == 130
    assert not place.exists()
    assert leftovers(world) == []


@pytest.mark.attack("K10")
def test_ctrl_c_in_a_terminal(world: World, busybox: str) -> None:
    world.write({"Dockerfile": SLEEP})
    end = watch(world, "build", busybox, ".", until="begun", terminal=True, signals=[INT])
    assert end.code == 130
    assert leftovers(world) == []
    good(world, busybox)


def test_while_several_steps_run(world: World, busybox: str) -> None:
    stages = "".join(f"FROM busybox AS s{n}\nRUN echo begun {n}; sleep 30{n}\n" for n in range(4))
    world.write({"Dockerfile": stages + "FROM scratch\n" + "".join(f"COPY --from=s{n} / /{n}/\n" for n in range(4))})
    end = watch(world, "build", "-j4", "--progress=plain", busybox, ".", until="begun", signals=[INT])
    assert end.code == 130
    assert leftovers(world) == []


def test_while_a_large_file_is_copied(world: World, busybox: str) -> None:
    world.write({"Dockerfile": "FROM scratch\nCOPY huge /\n", "huge": ""})
    os.truncate(world.project / "huge", 6 << 30)  # a hole, so only reading it takes long; on disk it would have room
    end = watch(world, "build", "--progress=plain", "-t", "x", ".", until="COPY huge", signals=[INT])
    assert end.code == 130
    assert leftovers(world) == []
    good(world, busybox)


@pytest.mark.parametrize("kind", ["type=oci,dest=x", "type=tar,dest=x", "type=local,dest=x"])
def test_while_a_large_result_is_written_out(world: World, busybox: str, kind: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN truncate -s 6G /huge && sync; echo begun\n"})
    end = watch(world, "build", "--progress=plain", busybox, "-o", kind, ".", until="begun\n", signals=[INT])
    assert end.code == 130
    assert leftovers(world) == []
    assert [name for name in os.listdir(world.project) if name != "Dockerfile"] in ([], ["x"] * ("local" in kind))


def test_while_a_buildfile_py_thinks(world: World) -> None:
    world.write(
        {
            "Buildfile.py": (
                "import time\nfrom buildkit_py import *\nprint('begun', flush=True)\ntime.sleep(300)\n"
                "@target\ndef app():\n    return scratch()\n"
            )
        }
    )
    end = watch(world, "Buildfile.py", until="begun", signals=[INT])
    assert end.code == 130


@pytest.fixture
def registry() -> Iterator[tuple[FakeRegistry, threading.Event]]:
    """A registry that sends half of the layer and then waits until the test is over."""
    over = threading.Event()
    with fake_registry() as registry:
        registry.add(sample())
        try:
            yield registry, over
        finally:
            over.set()


@pytest.mark.parametrize("command", ["pull", "build", "run"])
@pytest.mark.parametrize("stage", ["layers", "blobs", "manifests"])
def test_while_pulling(
    world: World, registry: tuple[FakeRegistry, threading.Event], command: str, stage: str, busybox: str
) -> None:
    fake, over = registry
    stalled = world.project / "stalled"

    def stall(handler: Handler, request: Request) -> bool:
        if stage == "layers":
            # The configuration is not read by a thread of its own.
            if "/blobs/" not in request.path or fake.blobs[request.path.rpartition("/")[2]].startswith(b"{"):
                return False
        elif f"/{stage}/" not in request.path:
            return False
        data = fake.blobs[request.path.rpartition("/")[2]] if stage == "layers" else b"x" * 1_000_000
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: min(1000, len(data) // 2)])
        handler.wfile.flush()
        stalled.touch()
        over.wait()
        return True

    fake.faults.append(stall)
    name = f"{fake.address}/app"
    world.write({"Dockerfile": f"FROM {name}\nRUN true\n"})
    argv = {"pull": ["pull", name], "build": ["build", "."], "run": ["run", name, "true"]}[command]
    end = watch(world, *argv, file=str(stalled), signals=[INT])
    assert end.code == 130, end.output
    assert leftovers(world) == []
    good(world, busybox)


@pytest.mark.parametrize("stage", ["manifests", "layers"])
@pytest.mark.parametrize("signal_", [INT, TERM], ids=["INT", "TERM"])
def test_while_a_credential_helper_hangs(
    world: World, registry: tuple[FakeRegistry, threading.Event], stage: str, signal_: int
) -> None:
    """It ends with what it started, also where another thread than the one that hears of signals waits for it."""
    fake, _ = registry
    hangs = world.project / "hangs"

    def refuse(handler: Handler, request: Request) -> bool:
        # The configuration is not read by a thread of its own.
        if stage == "layers" and (
            "/blobs/" not in request.path or fake.blobs[request.path.rpartition("/")[2]].startswith(b"{")
        ):
            return False
        return handler.reply(401, WWW_Authenticate=f'Bearer realm="http://{fake.address}/token",service="s"')

    fake.faults.append(refuse)
    world.write(
        {
            "logins/config.json": '{"credsStore": "slow"}',
            "bin/docker-credential-slow": f"#!/bin/sh\nsleep 300 &\ntouch {hangs}\nsleep 300\n",
            "Dockerfile": f"FROM {fake.address}/app\nCOPY --chown=x Dockerfile /\n",
        }
    )
    (world.project / "bin/docker-credential-slow").chmod(0o755)
    world.env["DOCKER_CONFIG"] = str(world.project / "logins")
    world.env["PATH"] = f"{world.project}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    end = watch(world, "build", ".", file=str(hangs), signals=[signal_], alone=True)
    assert end.code == 128 + signal_, end.output
    assert leftovers(world) == []


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.attack("K10")
def test_a_reader_of_the_progress_goes_away(world: World, busybox: str, stream: str) -> None:
    script = {"stderr": "while sleep 0.1; do echo more; done", "stdout": "truncate -s 2G /huge"}[stream]
    world.write({"Dockerfile": f"FROM busybox\nRUN echo begun; {script}\n"})
    output = ["-o", "type=tar,dest=-"] if stream == "stdout" else []
    end = watch(world, "build", "--progress=plain", busybox, *output, ".", until="begun\n", hang_up=[stream])
    assert end.code == 141, end.output
    assert leftovers(world) == []
    good(world, busybox)


@pytest.mark.attack("S17", "K10")
def test_kill_of_the_command_line_takes_everything_along(world: World, busybox: str) -> None:
    world.write({"Dockerfile": SLEEP})
    end = watch(world, "build", "--progress=plain", busybox, ".", until="begun\n", signals=[KILL], alone=True)
    assert end.code == -KILL
    world.run("cache", "prune")
    assert leftovers(world) == []
    good(world, busybox)


def test_what_is_stopped_can_still_be_ended(world: World, busybox: str) -> None:
    world.write({"Dockerfile": SLEEP})
    signals = [signal.SIGTSTP, INT, signal.SIGCONT]
    end = watch(world, "build", "--progress=plain", busybox, ".", until="begun\n", signals=signals)
    assert end.code == 130


def test_hang_up_is_ignored_where_nohup_says_so(world: World, busybox: str) -> None:
    world.write({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 1; echo through\n"})
    before = signal.signal(HUP, signal.SIG_IGN)
    try:
        end = watch(world, "build", "--progress=plain", busybox, ".", until="begun\n", signals=[HUP])
    finally:
        signal.signal(HUP, before)
    assert (end.code, "through" in end.output) == (0, True)
