"""What all test processes share: one directory that every user may read, made before them and removed after them."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

SHARED = "PYBUILD_TESTS_SHARED"
"""The variable that tells test processes where the directory is."""


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # a process of pytest-xdist has it from the one that started it
    path = tempfile.mkdtemp(prefix="pybuild-tests-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    os.chmod(path, 0o755)
    os.environ[SHARED] = path


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(SHARED))
