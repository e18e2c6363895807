"""Machines that build one project, each with a store of its own, and the plain web server that keeps their cache."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.behaviour.world import World
from tests.web_server import Handler, Request, Web

# Layers of more than a KiB: smaller ones are no blobs of their own.
DOCKERFILE = """\
FROM busybox
RUN echo tools > /tools; head -c 3000 /dev/urandom > /more
COPY src /src
RUN head -c 300000 /dev/urandom > /made
"""


class Bucket:
    """What a plain server keeps below `/cache/`, and what goes wrong with it: `fault(request)` answers in its place."""

    def __init__(self, web: Web) -> None:
        self.files: dict[str, bytes] = {}
        self.fault: Callable[[Handler, Request], bool] = lambda handler, request: False
        self.asked: list[str] = []
        self.url = f"{web.url}/cache"
        web.below["/cache/"] = self.answer

    def answer(self, handler: Handler, request: Request) -> None:
        self.asked.append(f"{request.method} {request.path}")
        body = handler.rfile.read(int(request.headers.get("content-length", "0")))
        if self.fault(handler, request):
            return
        if request.method == "PUT":
            self.files[request.path] = body
            handler.answer(201)
        elif request.path in self.files:
            handler.answer(200, self.files[request.path])
        else:
            handler.answer(404)


class Machines:
    """One project, built on several machines."""

    def __init__(self, world: World, layout: Path, bucket: Bucket) -> None:
        self.world = world
        self.bucket = bucket
        self.layout = layout
        world.write({"Dockerfile": DOCKERFILE, "src/a.txt": "a\n"})
        (world.project / "src/large").write_bytes(Random(1).randbytes(3000))

    def build(self, machine: str, *argv: str, ok: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Build on a machine."""
        context = ("--build-context", f"busybox=oci-layout://{self.layout}")
        return self.world.build(*context, *argv, ok=ok, PYBUILD_HOME=str(self.world.top / machine), **env)

    # What names the cache, to write it and to read it.

    @property
    def to(self) -> str:
        return f"--cache-to=type=http,url={self.bucket.url}"

    @property
    def source(self) -> str:
        return f"--cache-from=type=http,url={self.bucket.url}/"

    def ran(self, done: subprocess.CompletedProcess[str]) -> int:
        """How many steps ran."""
        return len(self.world.ran(done))
