"""What tests of containers in the background do with them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.behaviour.world import World

LOOP = "while :; do sleep 0.05; done"


def until(condition: Callable[[], Any]) -> Any:
    for _ in range(1200):
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come")


def listed(world: World, name: str) -> dict[str, Any]:
    return next(one for one in json.loads(world.run("ps", "-a", "--json").stdout) if one["name"] == name)


def supervisors(world: World) -> list[int]:
    """The processes whose command line names this world's store, without those of a container's network."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            name = (entry / "comm").read_text()
        except OSError:
            continue
        if (
            not name.startswith("pybuild-")
            and str(world.store).encode() in words
            and any(b"api.supervise" in word for word in words)
        ):
            found.append(int(entry.name))
    return found


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
