"""What the tests of interrupts ask of `watching.py`: a command of a world, watched to its end and beyond."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.behaviour.world import World


class End(NamedTuple):
    """How a watched command ended; see `watching.py`."""

    code: int
    output: str
    left: list[str]


def watch(world: World, *argv: str, **how: object) -> End:
    """Run a pybuild command in the world as `how` says. Nothing of it may be left: no process, mount or work."""
    command = world.command()
    start = command.index("buildkit_py") - 2
    prefix, python = command[:start], command[start]
    wanted = {"command": [python, "-m", "buildkit_py", *argv], **how}
    done = subprocess.run(
        [*prefix, python, "-m", "tests.behaviour.watching", json.dumps(wanted)],
        cwd=world.project,
        env=world.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    end = End(**json.loads(done.stdout))
    assert end.left == [], end.output
    assert "Traceback" not in end.output, end.output
    assert str(world.store) not in Path("/proc/self/mountinfo").read_text()
    return end


def leftovers(world: World) -> list[str]:
    """What is in progress in the store, or said to be in use."""
    places = [world.store / part for part in ("work", "inuse")]  # or not yet, where the store was not whole
    return [f"{place.name}/{name}" for place in places if place.exists() for name in os.listdir(place)]
