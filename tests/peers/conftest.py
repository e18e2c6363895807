"""`docker`: a daemon of our own with the base image, one for a test process; `world` as the behaviour tests have it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.conftest import base_layout, shared, user_python, world
from tests.needs import need
from tests.peers.base import docker_archive
from tests.peers.daemon import Docker, docker_daemon

__all__ = ["base_layout", "shared", "user_python", "world"]


@pytest.fixture(scope="session")
def docker(base_layout: Path) -> Iterator[Docker]:
    """The daemon, in which `FROM busybox` is the base image."""
    need("dockerd", "docker")
    if os.geteuid() != 0:
        pytest.skip("a docker daemon needs root")
    with docker_daemon() as made:
        made("load", stdin=docker_archive(base_layout))
        yield made
