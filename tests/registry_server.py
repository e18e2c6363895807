"""A real registry for tests: the `docker-registry` program on a free port, its storage below a given directory."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = "docker-registry"
# `secret` for the user `pybuild`, as `htpasswd -B` writes it.
USER, PASSWORD = "pybuild", "secret"
HTPASSWD = "pybuild:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def registry_server(directory: Path, *, htpasswd: str = "") -> Iterator[str]:
    """`127.0.0.1:PORT` of a running registry; `htpasswd` is the text of a password file, then it asks for Basic."""
    directory.mkdir(parents=True, exist_ok=True)
    for _ in range(5):
        port = free_port()
        config = directory / "config.yml"
        auth = ""
        if htpasswd:
            (directory / "htpasswd").write_text(htpasswd)
            auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {directory}/htpasswd\n"
        config.write_text(
            f"version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\n"
            f"storage:\n  filesystem:\n    rootdirectory: {directory}/data\n  delete:\n    enabled: true\n"
            f"http:\n  addr: 127.0.0.1:{port}\n{auth}"
        )
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [COMMAND, "serve", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )
        try:
            if _wait(process, port):
                yield f"127.0.0.1:{port}"
                return
        finally:
            process.terminate()
            process.wait()
    raise RuntimeError(f"docker-registry does not start: {(directory / 'log').read_text()[-2000:]}")


def _wait(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it answers; False where it ended, for example because the port was taken meanwhile."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None:
        try:
            with opener.open(f"http://127.0.0.1:{port}/v2/", timeout=5):
                return True
        except urllib.error.HTTPError as answer:
            answer.close()
            return answer.code == 401
        except OSError:
            time.sleep(0.02)
    return False
