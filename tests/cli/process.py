"""The `pybuild` process as a test runs it: the real one, in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = (sys.executable, "-m", "buildkit_py")


def environment(home: Path, **env: str) -> dict[str, str]:
    """Ours without what would change the answer, and a store below `home`."""
    dropped = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "BUILDKIT_PROGRESS", "SOURCE_DATE_EPOCH")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    kept |= {
        "PYBUILD_HOME": f"{home}/store",
        "XDG_CONFIG_HOME": f"{home}/config",
        "LC_ALL": "C.UTF-8",
        "PYTHONUTF8": "1",
    }
    kept["PYBUILD_NETWORK"] = "host"  # what other networks need, not every machine has
    return kept | env


def pybuild(home: Path, *argv: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in `home`."""
    return subprocess.run(
        (*COMMAND, *argv),
        input=stdin,
        capture_output=True,
        text=True,
        cwd=home,
        env=environment(home, **env),
        timeout=120,
        check=False,
    )
