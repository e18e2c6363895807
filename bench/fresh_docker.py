"""A dockerd with containerd's image store, without which it writes no caches; made anew and empty whenever wanted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.daemon import Daemon
from bench.private import discard


class FreshDocker:
    """`env` is that of its clients. It starts with `renew`."""

    def __init__(self, directory: str, env: Mapping[str, str]) -> None:
        self.env = {**env, "DOCKER_HOST": f"unix://{directory}/docker.sock"}
        self._directory = directory
        self._daemon: Daemon | None = None

    def renew(self) -> None:
        """Have it running, with nothing in its store."""
        self.stop()
        discard(self._directory)
        Path(self._directory).mkdir()
        config = f"{self._directory}/daemon.json"
        Path(config).write_text(json.dumps({"features": {"containerd-snapshotter": True}}))
        command = (
            "dockerd",
            *("--config-file", config),
            *("--data-root", f"{self._directory}/data"),
            *("--exec-root", f"{self._directory}/exec"),
            *("--pidfile", f"{self._directory}/pid"),
            *("--host", self.env["DOCKER_HOST"]),
            *("--bridge=none", "--iptables=false", "--ip6tables=false"),
        )
        self._daemon = Daemon(command, f"{self._directory}/log", self.env, self._answers)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._daemon is not None:
            self._daemon.stop()
            self._daemon = None

    def _answers(self) -> bool:
        return subprocess.run(("docker", "version"), env=self.env, capture_output=True, check=False).returncode == 0
