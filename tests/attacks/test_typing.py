"""A container with a terminal: it types nothing for the user, and leaves his terminal as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
from pathlib import Path

import pytest

from tests.attacks.doors import Door, opened
from tests.behaviour.world import World

LEGACY = Path("/proc/sys/dev/tty/legacy_tiocsti")


@pytest.mark.attack("S11", by="both")
@pytest.mark.parametrize("kind", ["run -t", "run", "build"])
def test_letters_that_nobody_typed(world: World, inside: Path, kind: str) -> None:
    """TIOCSTI (CVE-2017-5226), on all terminals that it can see: the next reader of the user's has nothing to read."""
    if not LEGACY.exists() or LEGACY.read_text() != "1\n":
        pytest.skip("missing in this kernel: TIOCSTI for who is not privileged (dev.tty.legacy_tiocsti = 1)")
    options = ("-i", "-t") if kind == "run -t" else ()
    with opened(world, kind.split(maxsplit=1)[0], inside) as door:
        type_at(door, options)


def type_at(door: Door, options: tuple[str, ...]) -> None:
    """Start it with a terminal of ours, and look at what that one has to read at the end."""
    world = door.world
    ours, theirs = pty.openpty()
    settings = termios.tcgetattr(theirs)
    command = world.command(*door.line(("inside", "type", "touch /tmp/typed\n"), *options))
    child = subprocess.Popen(
        command,
        cwd=world.project,
        env=world.environment(TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # no threads here
    )
    seen = b""
    while child.poll() is None:
        if select.select([ours], [], [], 0.1)[0]:
            seen += os.read(ours, 65536)
    assert termios.tcgetattr(theirs) == settings
    os.set_blocking(theirs, False)
    with pytest.raises(BlockingIOError):
        os.read(theirs, 100)
    os.close(theirs)
    os.close(ours)
    assert b"DONE" in seen or child.returncode == 0
