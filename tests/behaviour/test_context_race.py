"""A context in which a directory and a link out of it take turns while it is copied: nothing outside is read."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from tests.behaviour.world import World

CANARY = "the canary, which lies outside"
FLIPS = 10_000
# One machine is as good as another for a race.
pytestmark = pytest.mark.parametrize("world", ["root" if os.geteuid() == 0 else "user"], indirect=True)


def flip(top: Path, stop: Event, flips: object) -> None:
    """Put `d` in place as a directory and as a link outside, in turns, by renames."""
    directory, link, place = top / "directory", top / "link", top / "project/ctx/d"
    while not stop.is_set():
        os.rename(place, directory)
        os.rename(link, place)
        os.rename(place, link)
        os.rename(directory, place)
        flips.value += 1  # type: ignore[attr-defined]


@pytest.mark.attack("C9")
def test_nothing_outside_is_read(world: World, base_layout: Path) -> None:
    outside = world.top / "outside"
    outside.mkdir()
    for number in range(20):
        (outside / f"f{number}").write_text(CANARY)
    world.write({f"ctx/d/f{number}": "inside" for number in range(20)})
    world.write({"Dockerfile": "FROM busybox\nCOPY ctx /c\nCOPY ctx/d /d\n"})
    (world.top / "link").symlink_to(outside)
    stop, flips = multiprocessing.Event(), multiprocessing.Value("q", 0)
    flipper = multiprocessing.Process(target=flip, args=(world.top, stop, flips))
    flipper.start()
    out = world.project / "out"
    tried = good = 0
    try:
        while flips.value < FLIPS or tried < 20 or (not good and tried < 100):
            shutil.rmtree(out, ignore_errors=True)
            done = world.run(
                "build", "-o", "out", "--build-context", f"busybox=oci-layout://{base_layout}", ".", ok=False
            )
            tried += 1
            good += done.returncode == 0
            assert done.returncode in (0, 4), done.stderr  # built, or said to have been changed meanwhile
            for path in out.rglob("f*") if out.exists() else ():
                if path.is_file() and not path.is_symlink():
                    assert CANARY not in path.read_text()
    finally:
        stop.set()
        flipper.join()
    # Nor is it in the store, in whatever was left half done.
    for path in world.store.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert CANARY.encode() not in path.read_bytes()
    assert tried >= 20
    assert good  # of what was built the files were looked at
