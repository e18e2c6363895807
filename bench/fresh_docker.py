"""A dockerd of one case, made anew and empty whenever wanted.

It has containerd's image store, without which it writes no caches, or its
default network: the bridge and its rules, in a network namespace of its own,
so that this machine's network is left as it is.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.daemon import Daemon
from bench.private import discard

# Nothing listens in it, and nothing is reached from it; its loopback is there for published ports.
_APART = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


class FreshDocker:
    """`env` is that of its clients. It starts with `renew`. `networked`: it has docker's default network."""

    def __init__(self, directory: str, env: Mapping[str, str], *, networked: bool = False) -> None:
        self.env = {**env, "DOCKER_HOST": f"unix://{directory}/docker.sock"}
        self._directory = directory
        self._networked = networked
        self._daemon: Daemon | None = None

    def renew(self) -> None:
        """Have it running, with nothing in its store."""
        self.stop()
        discard(self._directory)
        Path(self._directory).mkdir()
        config = f"{self._directory}/daemon.json"
        Path(config).write_text(json.dumps({"features": {"containerd-snapshotter": not self._networked}}))
        command = (
            *(_APART if self._networked else ()),
            "dockerd",
            *("--config-file", config),
            *("--data-root", f"{self._directory}/data"),
            *("--exec-root", f"{self._directory}/exec"),
            *("--pidfile", f"{self._directory}/pid"),
            *("--host", self.env["DOCKER_HOST"]),
            *(() if self._networked else ("--bridge=none", "--iptables=false", "--ip6tables=false")),
        )
        self._daemon = Daemon(command, f"{self._directory}/log", self.env, self._answers)

    def client(self) -> tuple[str, ...]:
        """The words in front of a command of its client, for an environment that names another docker."""
        return ("env", f"DOCKER_HOST={self.env['DOCKER_HOST']}", "docker")

    def inside(self) -> tuple[str, ...]:
        """The words in front of a command that is to run where its published ports are."""
        pid = Path(f"{self._directory}/pid").read_text().strip()
        return ("nsenter", f"--net=/proc/{pid}/ns/net")

    def stop(self) -> None:
        """End it, if it runs."""
        if self._daemon is not None:
            self._daemon.stop()
            self._daemon = None

    def _answers(self) -> bool:
        return subprocess.run(("docker", "version"), env=self.env, capture_output=True, check=False).returncode == 0
