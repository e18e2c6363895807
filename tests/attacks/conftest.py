"""`door`: each of the two ways in, for root and for an ordinary user, with the program of `inside.c` in its image."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.doors import DOORS, Door, opened
from tests.behaviour.conftest import base_layout, shared, user_python, world
from tests.behaviour.world import World
from tests.needs import need
from tests.sandbox.conftest import box, package_copy, place, rootfs

__all__ = ["base_layout", "box", "package_copy", "place", "rootfs", "shared", "user_python", "world"]
TRIES = int(os.environ.get("PYBUILD_ATTACK_TRIES", "60"))
"""How often a race is tried. 10,000 is the full number, which takes hours; see `docs/explanation/isolation.md`."""


@pytest.fixture(scope="session")
def inside(place: Path) -> Path:
    """The static program of what is tried from inside. Skips the test where there is no compiler."""
    need("gcc")
    target, source = place / "inside", Path(__file__).with_name("inside.c")
    if not target.exists():
        subprocess.run(["gcc", "-static-pie", "-O1", "-Wall", "-Werror", "-o", str(target), str(source)], check=True)
    return target


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, world: World, inside: Path) -> Iterator[Door]:
    """A door into a world of its own."""
    with opened(world, request.param, inside) as made:
        yield made
