"""What all test processes share: one directory that every user may read, and that signals reach what they start."""

from __future__ import annotations

import compileall
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# No test says how fast something has to be: on a machine that is busy, anything may take long. Examples are others each
# time, but for continuous integration: what that says of a change is not to hang on examples that nobody saw before
# (as Hypothesis has it where it finds itself in one).
settings.register_profile("pybuild", deadline=None, derandomize="PYBUILD_CI" in os.environ)
settings.load_profile("pybuild")

SHARED = "PYBUILD_TESTS_SHARED"
"""The variable that tells test processes where the directory is."""


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # a process of pytest-xdist has it from the one that started it
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        # In the background of a shell, or below nohup, they are ignored, and all that the tests start would ignore
        # them as well. A handler keeps them from this process alone: exec does away with it.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    # Tests start thousands of processes. Where PYTHONDONTWRITEBYTECODE is set each would compile all that it loads.
    compileall.compile_dir(Path(__file__).parent.parent / "buildkit_py", quiet=2)
    path = tempfile.mkdtemp(prefix="pybuild-tests-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    os.chmod(path, 0o755)
    os.environ[SHARED] = path
    os.environ["XDG_DATA_HOME"] = f"{path}/data"  # where skopeo, run by an ordinary user, keeps notes on blobs


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(SHARED))
