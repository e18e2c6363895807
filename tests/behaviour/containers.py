"""What tests of containers in the background do with them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.behaviour.world import World
from tests.processes import processes

LOOP = "while :; do sleep 0.05; done"


def hear(address: str, patience: int = 2) -> str:
    """A command of a shell that prints what a server says, and fails where it says nothing.

    Its input does not end before: `nc -l` that hears of that ends, whether it has said anything or not.
    """
    return f"{{ mkfifo /tmp/open; nc -w {patience} {address} <>/tmp/open | grep .; }} 2>/dev/null"


def until(condition: Callable[[], Any]) -> Any:
    for _ in range(1200):
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come")


def listed(world: World, name: str) -> dict[str, Any]:
    return next(one for one in json.loads(world.run("ps", "-a", "--json").stdout) if one["name"] == name)


def supervisors(world: World) -> list[int]:
    """The supervisors of this world's containers, without the processes that they forked."""
    found = of_store(world)
    return [
        pid for pid, (name, words) in found.items() if not name.startswith("pybuild-") and b"api.supervise" in words
    ]


def named(world: World, name: str) -> list[int]:
    """The processes that work for this world's store and call themselves so."""
    return [pid for pid, (called, _) in of_store(world).items() if called == name]


def of_store(world: World) -> dict[int, tuple[str, bytes]]:
    """Name and command line of all processes whose command line has this world's store as a word."""
    found = {}
    for process in processes():
        try:
            words = (process / "cmdline").read_bytes()
            name = (process / "comm").read_text().rstrip("\n")
        except OSError:
            continue
        if os.fsencode(world.store) in words.split(b"\0"):
            found[int(process.name)] = (name, words)
    return found


def begin(world: World, *argv: str, where: str = ".") -> subprocess.Popen[str]:
    """Start pybuild in the project, with pipes."""
    return subprocess.Popen(
        world.command(*argv),
        cwd=world.project / where,
        env=world.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def log(world: World, name: str, *options: str) -> str:
    return world.run("logs", *options, name).stdout


def sh(world: World, name: str, script: str, *options: str) -> str:
    return world.run("run", "-d", f"--name={name}", *options, "svc", "sh", "-c", script).stdout.strip()


@contextmanager
def removed_at_the_end(world: World) -> Iterator[World]:
    """All containers of a world go at the end, and their supervisors with them."""
    yield world
    names = world.run("ps", "-aq").stdout.split()
    if names:
        world.run("rm", "-f", *names)
    until(lambda: not supervisors(world))
    for pid in named(world, "pybuild-network"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it would stay for some seconds, in case somebody comes back
