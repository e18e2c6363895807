"""What a test needs of the machine: commands that Debian packages bring, and packages that are extras of ours."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import pytest


def need(*commands: str) -> None:
    """Skip the test where one of the commands is missing; fail it instead under PYBUILD_CI=1."""
    # Administration commands live where an ordinary user's PATH does not look.
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    missing = [command for command in commands if shutil.which(command, path=path) is None]
    if not missing:
        return
    _lack(f"missing commands: {', '.join(missing)}")


def need_package(name: str) -> None:
    """The same for a package of Python."""
    if find_spec(name) is None:
        _lack(f"missing package: {name}")


def _lack(message: str) -> None:
    if os.environ.get("PYBUILD_CI") == "1":
        pytest.fail(message)
    pytest.skip(message)
