"""What a usual build loads: none of the modules of Python that take as long as a step does."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.behaviour.world import World

DOCKERFILE = """\
# syntax=docker/dockerfile:1
FROM busybox
ENV NUMBER=0
WORKDIR /work
COPY *.txt sub ./
RUN cat one.txt > two && echo $NUMBER
RUN rm two
CMD ["cat", "one.txt"]
"""
# Each is 1 ms or more, with what it imports itself.
HEAVY = {
    *("argparse", "asyncio", "collections", "contextlib", "ctypes", "dataclasses", "enum", "functools", "hashlib"),
    *("inspect", "json", "lark", "logging", "pathlib", "re", "shutil", "signal", "socket", "subprocess", "tarfile"),
    *("tempfile", "threading", "traceback", "typeguard", "typing", "rich"),
}
# Ours that are for a SERVICE, an EXPOSE or a flag of RUN, none of which this build has.
UNASKED = {
    "buildkit_py.executor.services",
    "buildkit_py.frontend.buildfile.lower_service",
    "buildkit_py.frontend.buildfile.service_table",
    "buildkit_py.frontend.ports",
    "buildkit_py.frontend.run_options",
    "buildkit_py.frontend.services",
    "buildkit_py.port_spec",
}


def _loaded(world: World, *options: str) -> set[str]:
    done = world.build(*options, PYTHONPROFILEIMPORTTIME="1")
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_a_usual_build_loads_little(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": DOCKERFILE, "one.txt": "1", "sub/file": "x", ".dockerignore": "out\n"})
    options = ("-t", "it", "--build-context", f"busybox=oci-layout://{base_layout}")
    first = _loaded(world, *options)
    # The interpreter's own start may load some of them, by what else is installed there.
    by_itself = {name for name in HEAVY & first if name in _loaded_by_version(world)}
    assert sorted(UNASKED & first) == []
    world.write({"Dockerfile": DOCKERFILE.replace("NUMBER=0", "NUMBER=1")})
    assert sorted((HEAVY & _loaded(world, *options)) - by_itself) == [], "all but one step ran again"
    world.write({"one.txt": "2"})
    assert sorted((HEAVY & _loaded(world, *options)) - by_itself) == [], "the graph was known"


def test_an_archive_is_written_with_little_more(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": DOCKERFILE, "one.txt": "1", "sub/file": "x", ".dockerignore": "*.tar\n"})
    options = ("-t", "it", "-o", "type=oci,dest=it.tar", "--build-context", f"busybox=oci-layout://{base_layout}")
    by_itself = HEAVY & _loaded(world, *options) & _loaded_by_version(world)
    world.write({"one.txt": "2"})
    # Of large blobs digests are taken, by OpenSSL.
    assert sorted((HEAVY & _loaded(world, *options)) - by_itself - {"hashlib"}) == []


def _loaded_by_version(world: World) -> set[str]:
    done = world.run("--version", PYTHONPROFILEIMPORTTIME="1")
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_a_supervisor_loads_little(world: World) -> None:
    """There is one for each container in the background, for as long as that runs."""
    python, *_ = (word for word in world.command() if "python" in word)
    script = "import sys; known = set(sys.modules); sys.path[:0] = sys.argv[1].split(':'); "
    script += "import buildkit_py.api.supervise as it; [__import__(name) for name in it.LATER if name != 'blake3']; "
    script += "print(*sorted(set(sys.modules) - known))"
    command = [python, "-I", "-S", "-c", script, world.environment()["PYTHONPATH"]]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "buildkit_py.runner.supervisor" in loaded
    assert sorted(HEAVY & loaded) == []


def test_a_cache_in_a_directory_needs_no_network(world: World, base_layout: Path) -> None:
    world.write({"Dockerfile": DOCKERFILE, "one.txt": "1", "sub/file": "x", ".dockerignore": "out\n"})
    options = ("--cache-to=type=local,dest=out", "-t", "it", "--build-context", f"busybox=oci-layout://{base_layout}")
    world.build(*options)  # of a new base image a server might have to be asked
    world.write({"one.txt": "2"})
    assert {"http.client", "ssl", "socket"} & _loaded(world, *options) == set()


def test_a_layer_that_is_here_packed_is_unpacked_without_the_network(world: World, base_layout: Path) -> None:
    base = ("--build-context", f"busybox=oci-layout://{base_layout}")
    world.write({"Dockerfile": "FROM busybox\nRUN true\n", "one.txt": "1"})
    world.build(*base)
    world.write({"Dockerfile": "FROM busybox\nCOPY one.txt /\n"})
    world.build("-t", "copied", *base)
    world.write({"Dockerfile": "FROM copied\nRUN cat one.txt\n"})
    assert sorted({"http.client", "socket", "threading", "queue"} & _loaded(world)) == []
