"""What tests of projects do with them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.behaviour.containers import LOOP
from tests.behaviour.world import World

# Says what it is told to, and then waits; ends at once when it is asked to.
SERVE = f"trap 'echo bye; exit 0' TERM; echo ready; {LOOP}"


def service(script: str, *more: str, image: str = "svc") -> str:
    """The lines of a service that runs a script, in flow style."""
    fields = [f"image: {image}", f"command: [sh, -c, {json.dumps(script)}]", "stop_grace_period: 20s", *more]
    return "{" + ", ".join(fields) + "}"


def compose(world: World, **services: str) -> None:
    """A compose.yaml of some services."""
    lines = [f"  {name}: {text}" for name, text in services.items()]
    world.write({"compose.yaml": "name: shop\nservices:\n" + "\n".join(lines) + "\n"})


def rows(world: World) -> dict[str, dict[str, Any]]:
    """The project's containers, by service."""
    found = json.loads(world.run("ps", "-a", "-p", "shop", "--json").stdout)
    return {one["service"]: one for one in found}


def states(world: World) -> dict[str, str]:
    return {name: one["status"] for name, one in rows(world).items()}


@contextmanager
def in_foreground(world: World, *argv: str, errors: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """`pybuild up …` that is still running; it is killed at the end if it is not over by then.

    `errors` gets its standard error, if that is looked at meanwhile.
    """
    with ExitStack() as opened:
        process = subprocess.Popen(
            world.command("up", *argv),
            cwd=world.project,
            env=world.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=opened.enter_context(errors.open("w")) if errors is not None else subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
