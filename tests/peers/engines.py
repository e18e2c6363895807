"""Other engines in places of their own: podman and buildah with storage below a directory, skopeo without a policy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=10000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
POLICY = '{"default":[{"type":"insecureAcceptAnything"}]}'


class Engines:
    """Commands that leave nothing outside of `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "containers.conf").write_text(CONTAINERS_CONF)
        (directory / "policy.json").write_text(POLICY)
        (directory / "registries.conf").write_text('unqualified-search-registries = []\nshort-name-mode = "disabled"\n')
        (directory / "tmp").mkdir()
        self._env = {
            **os.environ,
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(directory / "registries.conf"),
            "TMPDIR": str(directory / "tmp"),
            "XDG_RUNTIME_DIR": str(directory / "tmp"),
            "HOME": str(directory),
        }
        self._storage = ["--root", f"{directory}/root", "--runroot", f"{directory}/run", "--storage-driver", "vfs"]

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def skopeo(self, command: str, *arguments: str) -> str:
        """`skopeo COMMAND`; registries are spoken to in plain http."""
        return self._run(["skopeo", "--insecure-policy", command, *arguments])

    def podman(self, *arguments: str) -> str:
        """`podman`, with no networks of its own where it runs something."""
        return self._run(["podman", *self._storage, *arguments])

    def buildah(self, *arguments: str) -> str:
        """`buildah`."""
        return self._run(["buildah", *self._storage, *arguments])

    def umoci(self, *arguments: str) -> str:
        """`umoci`."""
        return self._run(["umoci", *arguments])
