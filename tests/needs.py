"""What a test needs of the machine: commands that Debian packages bring."""

from __future__ import annotations

import os
import shutil

import pytest


def need(*commands: str) -> None:
    """Skip the test where one of the commands is missing; fail it instead under PYBUILD_CI=1."""
    # Administration commands live where an ordinary user's PATH does not look.
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    missing = [command for command in commands if shutil.which(command, path=path) is None]
    if not missing:
        return
    message = f"missing commands: {', '.join(missing)}"
    if os.environ.get("PYBUILD_CI") == "1":
        pytest.fail(message)
    pytest.skip(message)
