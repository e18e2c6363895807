"""A docker daemon of our own: all it has lies below one directory, it makes no networks, and a test ends it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class Docker:
    """The daemon, as a client sees it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = {
            **os.environ,
            "DOCKER_HOST": f"unix://{directory}/docker.sock",
            "DOCKER_CONFIG": str(directory / "config"),
            "DOCKER_BUILDKIT": "1",
        }

    def try_(
        self, *command: str, stdin: bytes | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a docker command."""
        return subprocess.run(
            ["docker", *command], env=self.env, input=stdin, cwd=cwd, capture_output=True, check=False
        )

    def __call__(self, *command: str, stdin: bytes | None = None, cwd: Path | None = None) -> str:
        """Run a docker command that has to succeed; its output."""
        done = self.try_(*command, stdin=stdin, cwd=cwd)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def build(self, name: str, context: Path, options: Sequence[str] = ()) -> str:
        """Build `context` as `name`; "" or the message of the failure. Provenance would make an index of it."""
        done = self.try_(
            "build", "--progress=plain", "--network=host", "--provenance=false", "-t", name, *options, ".", cwd=context
        )
        if done.returncode == 0:
            return ""
        message = (done.stderr.decode(errors="replace").strip().splitlines() or ["failed"])[-1]
        # Where the daemon keeps what it builds is another place each time.
        message = re.sub(r"/\S+/(?:merged|buildkit-mount\d+)(?=/)", "", message)
        return re.sub(r"of ref \S+ ", "", message).removeprefix("ERROR: failed to solve: ")


@contextmanager
def docker_daemon() -> Iterator[Docker]:
    """Start it, wait until it answers, and end it with everything it made."""
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
    directory = Path(tempfile.mkdtemp(prefix="pybuild-docker-", dir=shared))
    client = Docker(directory)
    command = ["dockerd", "--data-root", f"{directory}/data", "--exec-root", f"{directory}/run"]
    command += ["--pidfile", f"{directory}/pid", "-H", f"unix://{directory}/docker.sock"]
    command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    with open(directory / "log", "wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        while client.try_("version").returncode:
            assert daemon.poll() is None, (directory / "log").read_text()
            time.sleep(0.1)
        yield client
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
        _unmount(directory)
        shutil.rmtree(directory)


def _unmount(directory: Path) -> None:
    """The daemon binds its data over itself to make it private, and does not always undo that."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((point for point in points if point.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "-l", point], check=True)
