"""What a test needs of the machine: commands that Debian packages bring, and packages that are extras of ours."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import NoReturn

import pytest


def everybody_reaches_out() -> bool:
    """Whether an ordinary user can have an isolated network here: udev gives /dev/net/tun to all, `.ci/run` too."""
    try:
        usable = os.stat("/dev/net/tun").st_mode & 0o006 == 0o006
    except OSError:
        usable = False
    return usable and shutil.which("pasta") is not None


def need_way_out(mode: str) -> None:
    """The same where who runs pybuild, "root" or "user" as of a world, cannot have an isolated network."""
    if (mode == "user" or os.geteuid() != 0) and not everybody_reaches_out():
        lack("/dev/net/tun is not for everybody, or pasta is not installed")
    need("pasta")


def need(*commands: str) -> None:
    """Skip the test where one of the commands is missing; fail it instead under PYBUILD_CI=1."""
    # Administration commands live where an ordinary user's PATH does not look.
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    missing = [command for command in commands if shutil.which(command, path=path) is None]
    if not missing:
        return
    lack(f"missing commands: {', '.join(missing)}")


def need_package(name: str) -> None:
    """The same for a package of Python."""
    if find_spec(name) is None:
        lack(f"missing package: {name}")


def lack(message: str) -> NoReturn:
    """Skip the test for what is missing; fail it instead under PYBUILD_CI=1."""
    if os.environ.get("PYBUILD_CI") == "1":
        pytest.fail(message)
    pytest.skip(message)
