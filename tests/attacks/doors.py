"""The two doors for what a stranger wrote, a RUN of `pybuild build` and `pybuild run`, and a canary outside of both."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.attacks.images import image_layout
from tests.behaviour.watched import leftovers
from tests.behaviour.world import World
from tests.image.tars import member
from tests.processes import processes

DOORS = ("build", "run")
# Nobody waits this long: it turns what is left running into a message.
_PATIENCE = 20.0


class Seen(NamedTuple):
    """How a command ended: pybuild's exit code, the lines that the command printed, and all that pybuild said."""

    code: int
    out: list[str]
    said: str


class Canary:
    """A secret outside, which nothing but pybuild keeps its user from, and what lies around. Call `remove`."""

    def __init__(self, world: World) -> None:
        # Where no sandbox has a file system of its own, as it has on /dev and /tmp may have.
        self.directory = Path(tempfile.mkdtemp(prefix="pybuild-canary-", dir="/var/tmp"))
        self.file = self.directory / "secret"
        self.text = f"canary-{secrets.token_hex(8)}"
        self.file.write_text(self.text)
        self.file.chmod(0o600)
        owner = world.project.stat()
        for path in (self.file, self.directory):
            os.chown(path, owner.st_uid, owner.st_gid)
        self._before = self._look()

    def _look(self) -> object:
        status = self.file.lstat()
        kept = (status.st_ino, status.st_mtime_ns, status.st_nlink, status.st_mode, self.file.read_text())
        names = [sorted(os.listdir(path)) for path in (self.directory, "/")]
        return kept, names

    def check(self) -> None:
        """It is as it was, and nothing is new beside it."""
        assert self._look() == self._before

    def remove(self) -> None:
        """Away with it."""
        shutil.rmtree(self.directory)

    def get_at_it(self) -> str:
        """A shell's attempt on all its names, up and down."""
        return f"cat {self.file} {'../' * 40}{str(self.file)[1:]} 2>/dev/null"


class Door:
    """One of the doors, by which images and commands come in. `inside` is the program of `inside.c`, if there is one.

    After each command the canary is as it was, no process of it is left, no mount, and no work in the store.
    """

    def __init__(self, world: World, kind: str, inside: Path | None = None) -> None:
        self.world = world
        self.kind = kind
        self.canary = Canary(world)
        # Own network namespaces without a way out: what reaches out has tests of its own.
        world.env["PYBUILD_NETWORK"] = "none"
        self.mark = f"attack-{world.top.name}"
        self._inside = inside.read_bytes() if inside is not None else b""
        self.context = ""
        self.image()

    def image(self, *members: bytes, config: dict[str, Any] | None = None) -> None:
        """The image of the commands: busybox, these members of a tar behind it, and this configuration."""
        layout = self.world.top / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        if self._inside:
            members = (member(b"bin/inside", data=self._inside, mode=0o755), *members)
        image_layout(layout, members, config or {})
        self.context = f"--build-context=box=oci-layout://{layout}"
        if self.kind == "run":
            self.world.write({"Dockerfile": "FROM box\nLABEL of=attacks\n"})
            self.world.run("build", "-q", "-t", "box", self.context, ".")

    def sh(self, script: str, *options: str, user: str = "", flags: str = "", **env: str) -> Seen:
        """Run a script of the shell as a user, with options of either door; `flags` are those of RUN."""
        return self.command(("sh", "-c", script), *options, user=user, flags=flags, **env)

    def command(self, argv: tuple[str, ...], *options: str, user: str = "", flags: str = "", **env: str) -> Seen:
        """The same with any command."""
        done = self.world.run(*self.line(argv, *options, user=user, flags=flags), ok=False, **env)
        self.check()
        return self._seen(done)

    def buildfile(self, text: str, *options: str, **env: str) -> Seen:
        """A whole Buildfile, in which the image is `box`."""
        assert self.kind == "build"
        self.world.write({"Dockerfile": text})
        argv = ("build", "--progress=plain", "--no-cache", self.context, *options, ".")
        done = self.world.run(*argv, ok=False, **env)
        self.check()
        return self._seen(done)

    def line(self, argv: tuple[str, ...], *options: str, user: str = "", flags: str = "") -> tuple[str, ...]:
        """The arguments of pybuild for a command, and the Buildfile where there has to be one."""
        if argv[:2] == ("sh", "-c"):
            argv = (*argv, self.mark)  # its zeroth argument, by which what it leaves running is found
        if self.kind == "run":
            return ("run", *([f"--user={user}"] if user else []), *options, "box", *argv)
        head = f"FROM box\nUSER {user}\n" if user else "FROM box\n"
        self.world.write({"Dockerfile": f"{head}RUN {flags} {json.dumps(argv)}\n"})
        return ("build", "--progress=plain", "--no-cache", self.context, *options, ".")

    def _seen(self, done: subprocess.CompletedProcess[str]) -> Seen:
        if self.kind == "run":
            return Seen(done.returncode, done.stdout.splitlines(), done.stdout + done.stderr)
        out = re.findall(r"^#\d+ \d+\.\d+ (.*)$", done.stderr, re.MULTILINE)
        return Seen(done.returncode, out, done.stderr)

    def check(self) -> None:
        """Nothing outside was touched, and nothing is left."""
        self.canary.check()
        assert self.running() == []
        for path in [process / "mountinfo" for process in processes()]:
            try:
                mounts = path.read_text()
            except OSError:
                continue
            assert str(self.world.store) not in mounts, path
        assert [name for name in leftovers(self.world) if not name.startswith("inuse")] == []

    def running(self) -> list[str]:
        """The command lines of what still runs of it, when it had time to end."""
        mark, deadline = self.mark.encode(), time.monotonic() + _PATIENCE
        while True:
            found = []
            for path in [process / "cmdline" for process in processes()]:
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if mark in line.split(b"\0"):
                    found.append(line.decode(errors="replace"))
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)


@contextmanager
def opened(world: World, kind: str, inside: Path | None = None) -> Iterator[Door]:
    """A door into a world of its own; at its end nothing outside was touched, and nothing is left."""
    door = Door(world, kind, inside)
    try:
        yield door
        door.check()
    finally:
        door.canary.remove()
